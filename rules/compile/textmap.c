/* The growing half of textmap. Set-up only. */
#include "textmap.h"

#include <stdlib.h>

static void place(struct textmap *map, struct textmap_slot s)
{
	uint32_t i = (uint32_t)s.hash & map->mask;

	while (map->slot[i].hash)
		i = (i + 1) & map->mask;
	map->slot[i] = s;
}

static int grow(struct textmap *map)
{
	uint32_t room = map->slot ? (map->mask + 1) * 2 : 16;
	struct textmap old = *map;

	map->slot = calloc(room, sizeof *map->slot);
	if (!map->slot) {
		*map = old;
		return -1;
	}
	map->mask = room - 1;
	for (uint32_t i = 0; old.slot && i <= old.mask; i++)
		if (old.slot[i].hash)
			place(map, old.slot[i]);
	free(old.slot);
	return 0;
}

struct textmap_slot *textmap_add(struct textmap *map, const char *key, uint32_t bytes)
{
	struct textmap_slot *s = textmap_find(map, key, bytes);

	if (s)
		return s;
	if ((!map->slot || map->count * 2 > map->mask) && grow(map))
		return NULL;
	if (bytes > map->bytes_max)
		map->bytes_max = bytes;
	map->count++;
	map->lengths |= 1ull << (bytes < 63 ? bytes : 63);
	if (bytes)
		map->first[(uint8_t)*key / 64] |= 1ull << ((uint8_t)*key % 64);
	place(map, (struct textmap_slot){textmap_hash(key, bytes), key, bytes, TEXTMAP_NONE});
	return textmap_find(map, key, bytes);
}

void textmap_free(struct textmap *map)
{
	free(map->slot);
	*map = (struct textmap){0};
}
