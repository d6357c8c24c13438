/* Names of a sink's states, for status and logs. Apart from the runner, so that views need no sinks.
 * Constant. */
#include "sink.h"

const char *const sink_state_name[] = {
	"off", "connecting", "running", "backoff", "refused", "stopped", "waiting", "delivered"};
