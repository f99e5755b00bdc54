#include <stdio.h>
#include <time.h>

#include "greet.h"

int main(void) {
	time_t now = time(NULL);
	const char *text = greeting(localtime(&now)->tm_hour);
	printf("%s (%d words)\n", text, count_words(text));
	return 0;
}
