package node

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"
)

// notifyVariable names the socket of a service manager that waits to hear how its
// service is: see sd_notify(3). Without one, nobody is told.
const notifyVariable = "NOTIFY_SOCKET"

// systemdReady says that the service has begun.
const systemdReady = "READY=1"

// systemdStopping says that the service ends, and how much longer that may take
// than the unit file has it.
func systemdStopping(within time.Duration) string {
	return fmt.Sprintf("STOPPING=1\nEXTEND_TIMEOUT_USEC=%d", within.Microseconds())
}

// tellSystemd sends a state. One that cannot be sent changes nothing for the service,
// so it is only logged.
func tellSystemd(logger *slog.Logger, state string) {
	path := os.Getenv(notifyVariable)
	if path == "" {
		return
	}
	conn, err := net.Dial("unixgram", path) // a leading @ is the abstract name space, for both
	if err == nil {
		_, err = conn.Write([]byte(state))
		_ = conn.Close()
	}
	if err != nil {
		logger.Warn("the service manager was not told", "state", state, "error", err)
	}
}
