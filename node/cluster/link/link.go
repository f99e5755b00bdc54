// Package link makes connections between the nodes of a cluster: one TCP port,
// on which both sides prove that they hold the cluster's token before anything
// else is said. What follows is the business of raft or of gRPC, in the clear.
package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
)

// Protocol is the version of the handshake. Nodes of different versions do not
// talk to each other.
const Protocol = 1

// MinToken is the least length of a token, in bytes: whoever sees a handshake can
// try tokens at leisure.
const MinToken = 16

// handshakeTime is how long a handshake may take.
const handshakeTime = 5 * time.Second

// Kind says what a connection is for.
type Kind = peerpb.Kind

// The kinds of connections.
const (
	Raft   = peerpb.Kind_KIND_RAFT   // the log's messages, between members
	Member = peerpb.Kind_KIND_MEMBER // gRPC between members
	Open   = peerpb.Kind_KIND_OPEN   // gRPC of those that are no members
)

// DialFunc opens a plain connection to HOST:PORT.
type DialFunc func(ctx context.Context, addr string) (net.Conn, error)

// Self is what a node says of itself, and how it judges others.
type Self struct {
	// Token is the cluster's secret, at least MinToken bytes.
	Token []byte
	// Hello returns what this node says now; the link fills in nonce, kind and
	// who is meant. Called for each connection, by many goroutines.
	Hello func() *peerpb.Hello
	// Admit refuses a peer that has proved to hold the token: with a *Refusal, or
	// nil. It is asked by the acceptor.
	Admit func(peer *peerpb.Hello) error
	// Met is told of each peer that has proved to hold the token, on both sides.
	// nil: nobody is.
	Met func(peer *peerpb.Hello)
}

// Validate checks what Listen and Dial need.
func (s *Self) Validate() error {
	if len(s.Token) < MinToken {
		return fmt.Errorf("the cluster token has %d bytes, want at least %d", len(s.Token), MinToken)
	}
	if s.Hello == nil || s.Admit == nil {
		return errors.New("link: Hello and Admit are needed")
	}
	return nil
}

// What callers tell apart.
var (
	// ErrProtocol means that the other side speaks another version of the link.
	ErrProtocol = errors.New("another link protocol")
	// ErrNotPeer means that what came is no handshake: another program.
	ErrNotPeer = errors.New("not a bgrid-node peer")
	// ErrToken means that the two sides hold different tokens.
	ErrToken = errors.New("the cluster tokens differ")
)

// Refusal is why a peer that holds the token is turned away.
type Refusal struct {
	Code peerpb.Verdict_Code
	Text string // one line for people
}

func (r *Refusal) Error() string { return r.Text }

// Refuse returns a *Refusal.
func Refuse(code peerpb.Verdict_Code, format string, args ...any) error {
	return &Refusal{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Addr is the remote address of a connection of this package.
type Addr struct {
	net.Addr
	Peer *peerpb.Hello // who is there
}

// Conn is a connection whose peer is known.
type Conn struct {
	net.Conn
	peer *peerpb.Hello
}

// Peer returns what the other side said of itself.
func (c *Conn) Peer() *peerpb.Hello { return c.peer }

// RemoteAddr returns an Addr.
func (c *Conn) RemoteAddr() net.Addr { return Addr{Addr: c.Conn.RemoteAddr(), Peer: c.peer} }
