/* One event of each type, with every field of the type, for tests and fuzz targets: by enum event_type, whose
 * ids are without a gap. Also read as C++. */
#ifndef SLUICE_TYPE_SAMPLES_H
#define SLUICE_TYPE_SAMPLES_H

#include "event.h"

static const char *const type_sample[EVENT_TYPE_MAX] = {
	NULL,
	/* click */
	"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"user_id\""
	":\"u1\",\"ts\":1763699990000,\"page\":\"/p\",\"referrer\":\"/\",\"country"
	"\":\"US\",\"device\":\"mobile\"}",
	/* platform */
	"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"source\":"
	"\"web\",\"timestamp\":\"2025-11-21T04:00:00Z\",\"attributes\":{\"user"
	"_id\":\"u1\",\"metric\":42.7,\"status\":\"ok\"}}",
	/* page_view */
	"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"type\":\"p"
	"age_view\",\"user_id\":\"u1\",\"session_id\":\"s1\",\"ts\":176369999000"
	"0,\"page\":\"/p\",\"referrer\":\"/\",\"country\":\"US\",\"device\":\"mobile"
	"\",\"value\":19.9,\"currency\":\"EUR\",\"properties\":{\"plan\":\"pro\"},"
	"\"ip\":\"192.0.2.7\",\"user_agent\":\"Mozilla/5.0\"}",
	/* session */
	"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"type\":\"s"
	"ession\",\"user_id\":\"u1\",\"session_id\":\"s1\",\"ts\":1763699990000,"
	"\"page\":\"/p\",\"referrer\":\"/\",\"country\":\"US\",\"device\":\"mobile\","
	"\"value\":19.9,\"currency\":\"EUR\",\"properties\":{\"plan\":\"pro\"}}",
	/* conversion */
	"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"type\":\"c"
	"onversion\",\"user_id\":\"u1\",\"session_id\":\"s1\",\"ts\":17636999900"
	"00,\"page\":\"/p\",\"referrer\":\"/\",\"country\":\"US\",\"device\":\"mobil"
	"e\",\"value\":19.9,\"currency\":\"EUR\",\"properties\":{\"plan\":\"pro\"}"
	"}",
	/* custom */
	"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"type\":\"c"
	"ustom\",\"name\":\"signup\",\"device_id\":\"d1\",\"user_id\":\"u1\",\"sess"
	"ion_id\":\"s1\",\"ts\":1763699990000,\"page\":\"/p\",\"referrer\":\"/\",\""
	"country\":\"US\",\"device\":\"mobile\",\"value\":19.9,\"currency\":\"EUR"
	"\",\"properties\":{\"plan\":\"pro\"},\"ip\":\"192.0.2.7\",\"user_agent\":\"M"
	"ozilla/5.0\"}",
	/* transaction */
	"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"type\":\"t"
	"ransaction\",\"user_id\":\"u1\",\"ts\":1763699990000,\"amount\":12.50"
	",\"currency\":\"USD\",\"card\":\"tok_1\",\"merchant\":\"m42\",\"country\":"
	"\"US\",\"ip\":\"203.0.113.7\",\"user_agent\":\"Mozilla/5.0\",\"status\":"
	"\"approved\"}",
	/* telemetry */
	"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"type\":\"t"
	"elemetry\",\"device_id\":\"d42\",\"ts\":1763699990000,\"name\":\"temp_"
	"c\",\"value\":21.5,\"status\":\"ok\",\"attributes\":{\"room\":\"4a\"}}",
	/* log */
	"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"type\":\"l"
	"og\",\"source\":\"checkout\",\"ts\":1763699990000,\"level\":\"error\",\""
	"message\":\"it broke\",\"attributes\":{\"code\":500}}",
};

#endif
