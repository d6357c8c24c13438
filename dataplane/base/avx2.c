/* Which functions are used, for tests; see avx2.h. */
#include "avx2.h"

bool avx2_barred;
