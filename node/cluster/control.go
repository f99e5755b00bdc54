package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/node/cluster/link"
	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
)

// Control is the command line's way to a node: over its peer port, with the
// cluster's token. Any member does: what only the leader can do goes there.
type Control struct {
	peer   string
	dialer *link.Dialer
}

// NewControl returns the control of the node at HOST:PORT. build is the version of
// this binary. dial nil: TCP.
func NewControl(peer string, token []byte, build string, dial link.DialFunc) (*Control, error) {
	self := &link.Self{
		Token: token,
		Hello: func() *peerpb.Hello { return &peerpb.Hello{Build: build} },
		Admit: func(*peerpb.Hello) error { return errors.New("a command line answers nobody") },
	}
	if err := self.Validate(); err != nil {
		return nil, err
	}
	return &Control{peer: peer, dialer: &link.Dialer{Self: self, Dial: dial}}, nil
}

// Status returns how the cluster is, as the node sees it.
func (c *Control) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.ask(ctx, func(ctx context.Context, p peerpb.PeerClient) error {
		reply, err := p.Status(ctx, &peerpb.StatusRequest{})
		if err != nil {
			return err
		}
		return json.Unmarshal(reply.Json, &s)
	})
	return s, err
}

// Join has the node join the cluster of the node at member, HOST:PORT.
func (c *Control) Join(ctx context.Context, member string) error {
	return c.ask(ctx, func(ctx context.Context, p peerpb.PeerClient) error {
		reply, err := p.Enter(ctx, &peerpb.EnterRequest{Peer: member})
		return refusal(reply.GetRefused(), err)
	})
}

// Remove makes a node no member of the cluster any longer.
func (c *Control) Remove(ctx context.Context, id string) error {
	return c.ask(ctx, func(ctx context.Context, p peerpb.PeerClient) error {
		reply, err := p.Remove(ctx, &peerpb.RemoveRequest{NodeId: id})
		return refusal(reply.GetRefused(), err)
	})
}

// Transfer has the leader hand leadership over, and returns who leads then.
func (c *Control) Transfer(ctx context.Context) (leader string, err error) {
	err = c.ask(ctx, func(ctx context.Context, p peerpb.PeerClient) error {
		reply, err := p.Transfer(ctx, &peerpb.TransferRequest{})
		leader = reply.GetLeaderId()
		return refusal(reply.GetRefused(), err)
	})
	return leader, err
}

// Snapshot has the node write a snapshot, which lets its log be cut off.
func (c *Control) Snapshot(ctx context.Context) error {
	return c.ask(ctx, func(ctx context.Context, p peerpb.PeerClient) error {
		_, err := p.Snapshot(ctx, &peerpb.SnapshotRequest{})
		return err
	})
}

func refusal(text string, err error) error {
	if err == nil && text != "" {
		return errors.New(text)
	}
	return err
}

// ask puts one question and makes one line of what goes wrong.
func (c *Control) ask(ctx context.Context, question func(context.Context, peerpb.PeerClient) error) error {
	err := askAt(ctx, c.dialer, c.peer, question)
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok && s.Code() != codes.OK {
		return fmt.Errorf("node at %s: %s", c.peer, s.Message())
	}
	return err
}
