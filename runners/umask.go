package runners

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// processUmask reads the umask without setting it, which all threads would see.
func processUmask() (uint32, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("read umask: %w", err)
	}
	return umaskIn(b)
}

// umaskIn finds the line "Umask: OCTAL" (Linux 4.7). Without it files are given
// their mode explicitly, as with a umask that takes everything.
func umaskIn(status []byte) (uint32, error) {
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte("Umask:")); ok {
			v, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 8, 32)
			if err != nil {
				return 0, fmt.Errorf("read umask: %w", err)
			}
			return uint32(v), nil
		}
	}
	return 0o777, nil
}
