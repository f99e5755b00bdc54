#include <cstdio>
#include <cstring>

#include "gen/loud.h"
#include "lib/all.h"

int main() {
  if (sum_of_parts() != EXPECTED_SUM || std::strcmp(LOUD, "WORD 1!WORD 2!WORD 3!") != 0) {
    std::printf("sum %d, loud %s\n", sum_of_parts(), LOUD);
    return 1;
  }
  std::printf("the parts add up\n");
}
