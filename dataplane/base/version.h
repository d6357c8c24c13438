/* The version of this build, as meson.build says it. */
#ifndef SLUICE_VERSION_H
#define SLUICE_VERSION_H

extern const char version_text[];

/* The answer to --version, on standard output. */
void version_print(const char *program);

#endif
