#include <cctype>
#include <cstdio>

int main() {
  std::printf("#define LOUD \"");
  for (int c; (c = std::getchar()) != EOF;)
    std::putchar(c == '\n' ? '!' : std::toupper(c));
  std::printf("\"\n");
}
