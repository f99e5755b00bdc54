#include <cstdio>

#include "gen/loud.h"
#include "lib/all.h"

int main() { std::printf("%s %d\n", LOUD, sum_of_parts()); }
