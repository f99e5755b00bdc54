package cluster

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
	"github.com/bgrid-node/bgrid-node/raftfsm"
)

// maxMessage bounds a message between nodes, in bytes.
const maxMessage = 64 << 20

// newServer returns the gRPC server for other nodes.
func (c *Cluster) newServer() *grpc.Server {
	s := grpc.NewServer(append([]grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
	}, c.o.ServerOptions...)...)
	peerpb.RegisterPeerServer(s, &service{c: c})
	if c.o.Register != nil {
		c.o.Register(s)
	}
	return s
}

// service is what this node answers to others about the cluster.
type service struct {
	peerpb.UnimplementedPeerServer
	c *Cluster
}

// errorOf is the one place where errors of this service get their codes.
func errorOf(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	return status.Error(codes.Unavailable, err.Error())
}

func (s *service) Ping(context.Context, *peerpb.PingRequest) (*peerpb.PingReply, error) {
	st := s.c.raft.Status()
	reply := &peerpb.PingReply{
		NodeId: s.c.o.NodeID, Instance: s.c.instance, HasState: st.LastLog > 0 || st.Snapshot > 0,
		Leads: s.c.raft.IsLeader(), Term: st.Term, LastIndex: st.LastLog, AppliedIndex: st.Applied,
	}
	reply.LeaderId, _ = s.c.Leader()
	return reply, nil
}

func (s *service) Propose(ctx context.Context, req *peerpb.ProposeRequest) (*peerpb.ProposeReply, error) {
	result, err := s.c.raft.Propose(ctx, req.Entries...)
	return proposeReply(result, err), nil
}

func (s *service) ReadIndex(ctx context.Context, _ *peerpb.ReadIndexRequest) (*peerpb.ReadIndexReply, error) {
	index, err := s.c.raft.ReadIndex(ctx)
	if errors.Is(err, raftfsm.ErrNotLeader) {
		return &peerpb.ReadIndexReply{NotLeader: true}, nil
	}
	return &peerpb.ReadIndexReply{Index: index}, errorOf(err)
}

func (s *service) Discover(context.Context, *peerpb.DiscoverRequest) (*peerpb.DiscoverReply, error) {
	return s.c.about(), nil
}

func (s *service) Grant(_ context.Context, req *peerpb.GrantRequest) (*peerpb.GrantReply, error) {
	if req.ClusterId == "" || !ValidNodeID(req.FounderId) {
		return nil, status.Error(codes.InvalidArgument, "a founder and a cluster are needed")
	}
	reply, err := s.c.grant(req)
	return reply, errorOf(err)
}

func (s *service) Join(ctx context.Context, req *peerpb.JoinRequest) (*peerpb.JoinReply, error) {
	reply, err := s.c.admitMember(ctx, req)
	if err != nil {
		s.c.log.Warn("take in a member", "node", req.NodeId, "error", err)
	}
	return reply, errorOf(err)
}

func (s *service) Remove(ctx context.Context, req *peerpb.RemoveRequest) (*peerpb.RemoveReply, error) {
	if req.Forwarded {
		reply, err := s.c.removeMember(ctx, req.NodeId)
		return reply, errorOf(err)
	}
	if err := s.c.Remove(ctx, req.NodeId); err != nil {
		return &peerpb.RemoveReply{Refused: err.Error()}, nil
	}
	return &peerpb.RemoveReply{}, nil
}

func (s *service) Look(context.Context, *peerpb.LookRequest) (*peerpb.LookReply, error) {
	s.c.nudge()
	return &peerpb.LookReply{}, nil
}

func (s *service) Status(ctx context.Context, req *peerpb.StatusRequest) (*peerpb.StatusReply, error) {
	b, err := s.c.statusJSON(ctx, req.Alone)
	return &peerpb.StatusReply{Json: b}, errorOf(err)
}

func (s *service) Enter(ctx context.Context, req *peerpb.EnterRequest) (*peerpb.EnterReply, error) {
	if err := s.c.Enter(ctx, req.Peer); err != nil {
		return &peerpb.EnterReply{Refused: err.Error()}, nil
	}
	return &peerpb.EnterReply{}, nil
}

func (s *service) Transfer(ctx context.Context, req *peerpb.TransferRequest) (*peerpb.TransferReply, error) {
	leader, err := s.c.awaitLeader(ctx)
	if err != nil {
		return nil, errorOf(err)
	}
	if leader != s.c.o.NodeID {
		if req.Forwarded {
			return &peerpb.TransferReply{LeaderId: leader}, nil // it moved already
		}
		conn, err := s.c.Conn(leader)
		if err != nil {
			return nil, errorOf(err)
		}
		return peerpb.NewPeerClient(conn).Transfer(ctx, &peerpb.TransferRequest{Forwarded: true})
	}
	if !s.c.hasHeir() {
		return &peerpb.TransferReply{Refused: "there is no other member with a vote to take leadership"}, nil
	}
	if err := s.c.Transfer(ctx); err != nil {
		return nil, errorOf(err)
	}
	next, err := s.c.awaitLeader(ctx)
	return &peerpb.TransferReply{LeaderId: next}, errorOf(err)
}

func (s *service) Snapshot(ctx context.Context, _ *peerpb.SnapshotRequest) (*peerpb.SnapshotReply, error) {
	return &peerpb.SnapshotReply{}, errorOf(s.c.raft.Snapshot(ctx))
}
