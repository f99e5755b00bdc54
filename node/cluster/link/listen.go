package link

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
)

// Bounds of the connections whose handshake is not complete: of all, and of one
// host, so that a stranger who says nothing does not keep the nodes out.
const (
	maxShaking     = 256
	maxHostShaking = 64
)

// Server accepts connections and hands each to the listener of its kind.
type Server struct {
	self  *Self
	from  net.Listener
	log   *slog.Logger
	quiet *rate.Limiter // of lines about connections that came to nothing

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu      sync.Mutex
	shaking int            // handshakes under way
	byHost  map[string]int // of them, by host

	kinds map[Kind]*listener
}

// Listen accepts connections from l until Close, which closes l.
func Listen(l net.Listener, self *Self, log *slog.Logger) (*Server, error) {
	if err := self.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		self:   self,
		from:   l,
		log:    log,
		quiet:  rate.NewLimiter(rate.Every(5*time.Second), 10),
		byHost: map[string]int{},
		kinds:  map[Kind]*listener{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, kind := range []Kind{Raft, Member, Open} {
		s.kinds[kind] = &listener{addr: l.Addr(), conns: make(chan net.Conn), closed: make(chan struct{})}
	}
	s.work.Go(s.accept)
	return s, nil
}

// Listener returns the connections of one kind. Closing it refuses further ones;
// those of the other kinds go on.
func (s *Server) Listener(kind Kind) net.Listener { return s.kinds[kind] }

// Close closes the port and all listeners, and waits for handshakes to end.
// Connections that were handed out stay open.
func (s *Server) Close() error {
	s.cancel()
	err := s.from.Close()
	for _, l := range s.kinds {
		_ = l.Close()
	}
	s.work.Wait()
	return err
}

func (s *Server) accept() {
	for {
		conn, err := s.from.Accept()
		if err != nil {
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			s.log.Warn("accept peer", "error", err) // such as no file descriptors left
			select {
			case <-time.After(100 * time.Millisecond):
			case <-s.ctx.Done():
				return
			}
			continue
		}
		host := hostOf(conn)
		if !s.begin(host) {
			_ = conn.Close()
			s.complain("peer refused: too many handshakes at a time", conn, nil)
			continue
		}
		s.work.Go(func() {
			defer s.end(host)
			s.shake(conn)
		})
	}
}

// begin counts a handshake of a host, unless there are too many.
func (s *Server) begin(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shaking >= maxShaking || s.byHost[host] >= maxHostShaking {
		return false
	}
	s.shaking++
	s.byHost[host]++
	return true
}

func (s *Server) end(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shaking--
	if s.byHost[host]--; s.byHost[host] == 0 {
		delete(s.byHost, host)
	}
}

func hostOf(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().String()
	}
	return host
}

// shake completes a handshake and hands the connection out.
func (s *Server) shake(raw net.Conn) {
	tune(raw)
	peer, err := bounded(s.ctx, raw, func() (*peerpb.Hello, error) { return s.self.answer(raw) })
	if err != nil {
		_ = raw.Close()
		if s.ctx.Err() == nil {
			s.turnedAway(raw, err)
		}
		return
	}
	s.kinds[peer.GetKind()].hand(&Conn{Conn: raw, peer: peer})
}

// turnedAway says why a connection came to nothing: aloud when people can do
// something about it.
func (s *Server) turnedAway(raw net.Conn, err error) {
	var refused *Refusal
	switch {
	case errors.Is(err, ErrNotPeer), errors.Is(err, io.EOF): // port scans, health probes, other protocols
		s.log.Debug("connection to the peer port was no peer", "from", raw.RemoteAddr().String(), "error", err)
	case errors.As(err, &refused):
		s.log.Debug("peer refused", "from", raw.RemoteAddr().String(), "error", err)
	default:
		s.complain("peer refused", raw, err)
	}
}

func (s *Server) complain(what string, raw net.Conn, err error) {
	if s.quiet.Allow() {
		s.log.Warn(what, "from", raw.RemoteAddr().String(), "error", err)
	}
}

// listener is a net.Listener fed by a Server.
type listener struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// hand waits until the connection is accepted, or closes it.
func (l *listener) hand(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.closed:
		_ = c.Close()
	case <-time.After(handshakeTime): // nobody accepts this kind now
		_ = c.Close()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }
