#include "greet.h"

const char *greeting(int hour) {
	if (hour < 12)
		return "good morning from a remote action";
	return hour < 18 ? "good afternoon from a remote action" : "good evening from a remote action";
}
