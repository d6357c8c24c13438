/* Any bytes as a request line: an error code of the protocol, or a request whose arguments the table allows.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_answer(char *line)
{
	json_t *answer;

	if (!line || line[strlen(line) - 1] != '\n' || strchr(line, '\n') != line + strlen(line) - 1)
		abort(); /* one answer is one line */
	answer = json_loads(line, 0, NULL);
	if (!answer || !json_is_boolean(json_object_get(answer, "ok")))
		abort();
	json_decref(answer);
	free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct request rq;
	struct err err = {0};
	const char *code = request_parse(&rq, (const char *)data, bytes, &err), *name;
	json_t *value;

	if (code) {
		if (!err.text[0])
			abort();
		check_answer(response_error(code, err.text));
		return 0;
	}
	if (rq.command->where == WHERE_local)
		abort();
	json_object_foreach(rq.args, name, value) if (!command_arg_find(rq.command->id, name)) abort();
	(void)request_uint(&rq, "timeout", 1);
	(void)request_text(&rq, "id", "");
	check_answer(response_ok(json_incref(rq.args)));
	request_end(&rq);
	return 0;
}
