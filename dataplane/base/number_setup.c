/* Memory for reading numbers. Control thread. */
#include <stdlib.h>

#include "number.h"

bool number_memory_init(struct number_memory *nm, uint32_t text_bytes)
{
	nm->text_bytes = text_bytes;
	nm->text = malloc((size_t)text_bytes + 1);
	nm->c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	return nm->text && nm->c_locale;
}

void number_memory_free(struct number_memory *nm)
{
	if (nm->c_locale)
		freelocale(nm->c_locale);
	free(nm->text);
	*nm = (struct number_memory){0};
}
