/* YAML tree on libyaml's event parser. Set-up only. */
#include "ytree.h"
