package link

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// How long a connection lives on while its other side says nothing: sent bytes
// that are not acknowledged end it after unackedTime, silence by keep-alives a
// little later. So a peer behind a broken network holds nobody up for minutes.
const (
	unackedTime       = 3 * time.Second
	keepAliveIdle     = 2 * time.Second
	keepAliveInterval = time.Second
	keepAliveCount    = 3
)

// tune sets the time-outs of a TCP connection; others stay as they are. What the
// system refuses to set only makes a dead peer noticed later.
func tune(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount})
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unackedTime.Milliseconds()))
	})
}
