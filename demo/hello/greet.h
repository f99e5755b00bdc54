#ifndef GREET_H
#define GREET_H

const char *greeting(int hour);
int count_words(const char *text);

#endif
