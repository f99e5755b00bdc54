#include "greet.h"

int count_words(const char *text) {
	int words = 0, inside = 0;
	for (; *text; text++) {
		if (*text == ' ')
			inside = 0;
		else if (!inside)
			inside = 1, words++;
	}
	return words;
}
