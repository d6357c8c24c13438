// The same clicks by simdjson's On-Demand parser, seven fields by name: what bench_parse is to be compared
// with.
#include <simdjson.h>

#include "bench_events.h"

namespace
{

struct run {
	struct bench_events events;
	simdjson::ondemand::parser parser;
	uint64_t sum;
};

void run_events(void *arg, uint32_t count)
{
	struct run *run = static_cast<struct run *>(arg);

	for (uint32_t i = 0; i < count; i++) {
		const char *text = reinterpret_cast<const char *>(run->events.bytes) + run->events.offset[i];
		simdjson::padded_string_view view(text, run->events.length[i], run->events.length[i] + 64);
		simdjson::ondemand::document doc;
		simdjson::ondemand::object object;
		std::string_view id, user, page, referrer, country, device;
		uint64_t ts;

		if (run->parser.iterate(view).get(doc) || doc.get_object().get(object) ||
			object["event_id"].get_string().get(id) || object["user_id"].get_string().get(user) ||
			object["ts"].get_uint64().get(ts) || object["page"].get_string().get(page) ||
			object["referrer"].get_string().get(referrer) ||
			object["country"].get_string().get(country) ||
			object["device"].get_string().get(device))
			abort();
		run->sum += ts + id.size() + user.size() + page.size() + referrer.size() + country.size() +
			    device.size();
	}
}

} // namespace

int main()
{
	uint32_t count = 65536;
	static struct run run;

	run.events = bench_events_make(count, bench_mix{0, 0, 0}, 42);
	printf("-- clicks: simdjson, %s\n", simdjson::get_active_implementation()->name().c_str());
	bench_report("simdjson On-Demand, 7 fields, no schema", run_events, &run, count, run.events.total);
	bench_events_free(&run.events);
	return 0;
}
