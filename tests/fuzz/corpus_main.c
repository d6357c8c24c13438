/* Runs a fuzz target over the files of a folder, once each. What is wrong aborts. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

/* The target gets a copy of just these bytes: what it reads beyond, a checker of memory sees. */
static void run_file(const char *folder, const char *name)
{
	char path[4096];
	uint8_t *data;
	FILE *in;
	long bytes;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	in = fopen(path, "rb");
	if (!in || fseek(in, 0, SEEK_END) || (bytes = ftell(in)) < 0) {
		perror(path);
		exit(1);
	}
	rewind(in);
	data = malloc(bytes ? (size_t)bytes : 1);
	if (!data || fread(data, 1, (size_t)bytes, in) != (size_t)bytes) {
		fprintf(stderr, "%s: cannot be read\n", path);
		exit(1);
	}
	fclose(in);
	fprintf(stderr, "%s\n", path);
	(void)LLVMFuzzerTestOneInput(data, (size_t)bytes);
	free(data);
}

int main(int argc, char **argv)
{
	const struct dirent *entry;
	unsigned count = 0;
	DIR *dir;

	if (argc != 2 || !(dir = opendir(argv[1]))) {
		fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
		return 2;
	}
	if (LLVMFuzzerInitialize && LLVMFuzzerInitialize(&argc, &argv))
		return 1;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.') {
			run_file(argv[1], entry->d_name);
			count++;
		}
	closedir(dir);
	printf("%u files\n", count);
	return count ? 0 : 1;
}
