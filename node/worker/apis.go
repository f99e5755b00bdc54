package worker

import (
	"net"
	"time"
)

// dialTime is how long a server may take to be reached for an action.
const dialTime = 5 * time.Second

// dialAny connects to the first server that can be reached: what an action says by
// its socket goes there as it is.
func dialAny(servers []string) func() (net.Conn, error) {
	return func() (c net.Conn, err error) {
		for _, s := range servers {
			if c, err = net.DialTimeout("tcp", s, dialTime); err == nil {
				return c, nil
			}
		}
		return nil, err
	}
}
