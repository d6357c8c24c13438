#include "decap.h"

#include <errno.h>
#include <string.h>

int decap_from_text(uint32_t *decap, const char *text, struct err *err)
{
	static const struct {
		const char *word;
		uint32_t bits;
	} known[] = {{"none", 0}, {"vxlan", DECAP_VXLAN}, {"gre", DECAP_GRE}, {"erspan", DECAP_ERSPAN},
		{"any", DECAP_VXLAN | DECAP_GRE | DECAP_ERSPAN}};

	*decap = 0;
	while (*text) {
		size_t skip = strspn(text, " "), bytes, k = 0;

		text += skip;
		bytes = strcspn(text, ", ");
		while (k < sizeof known / sizeof *known &&
			(strlen(known[k].word) != bytes || memcmp(known[k].word, text, bytes) != 0))
			k++;
		if (k == sizeof known / sizeof *known)
			return err_set(err, -EINVAL,
				"'%.*s' is no tunnel: expected none, any, or words of vxlan, gre, erspan",
				(int)bytes, text);
		*decap |= known[k].bits;
		text += bytes;
		text += strspn(text, " ");
		if (*text && (*text != ',' || !*++text))
			return err_set(
				err, -EINVAL, "expected words of vxlan, gre, erspan, separated by commas");
	}
	return 0;
}
