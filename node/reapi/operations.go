package reapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/filter"
)

// maxPageSize is the largest page_size of ListOperations, and the default.
const maxPageSize = 1000

// operationStore is what the Operations service asks of node/sched.
type operationStore interface {
	Get(ctx context.Context, name string) (*sched.State, error)
	Cancel(ctx context.Context, name string) error
	Delete(ctx context.Context, name string) error
	List(ctx context.Context, instance string, f filter.Filter, pageSize int, pageToken string) ([]*sched.State, string, error)
	Watch(ctx context.Context, name string) (watch, error)
}

// operations serves google.longrunning.Operations. Names are {instance}/{uuid}.
type operations struct {
	longrunningpb.UnimplementedOperationsServer
	instances  instances
	operations operationStore
	closing    context.Context // ends when the server stops
}

// GetOperation returns the current state. Trailing metadata tells who asked for
// it: the client's RequestMetadata, and its identity. An unknown operation is
// NOT_FOUND, a name without its instance INVALID_ARGUMENT.
func (o *operations) GetOperation(ctx context.Context, req *longrunningpb.GetOperationRequest) (*longrunningpb.Operation, error) {
	name, err := o.instances.operationName(req.GetName())
	if err != nil {
		return nil, err
	}
	state, err := o.operations.Get(ctx, name)
	if err != nil {
		return nil, operationError(name, err)
	}
	if md := trailerOf(state.Operation); len(md) > 0 {
		_ = grpc.SetTrailer(ctx, md) // fails only when the client is gone
	}
	return operationOf(state, nil)
}

// ListOperations lists an instance's operations, in pages. The filter is
// BuildGrid's grammar; without one, all that are not completed are listed.
// page_size is at most 1000, which is the default too.
func (o *operations) ListOperations(ctx context.Context, req *longrunningpb.ListOperationsRequest) (*longrunningpb.ListOperationsResponse, error) {
	instance, err := o.instances.resolve(strings.TrimSuffix(req.GetName(), "/"))
	if err != nil {
		return nil, err
	}
	size := int(req.GetPageSize())
	switch {
	case size < 0:
		return nil, invalidField("page_size", "is negative")
	case size > maxPageSize:
		return nil, invalidField("page_size", fmt.Sprintf("The maximum page size is %d.", maxPageSize))
	case size == 0:
		size = maxPageSize
	}
	f, err := filter.Parse(req.GetFilter())
	if err != nil {
		return nil, invalidField("filter", err.Error())
	}
	states, next, err := o.operations.List(ctx, instance, f.OrUnfinished(), size, req.GetPageToken())
	if errors.Is(err, queue.ErrBadPageToken) {
		return nil, invalidField("page_token", err.Error())
	}
	if err != nil {
		return nil, statusOf(err)
	}
	page := &longrunningpb.ListOperationsResponse{NextPageToken: next, Operations: make([]*longrunningpb.Operation, 0, len(states))}
	for _, state := range states {
		op, err := operationOf(state, nil)
		if err != nil {
			return nil, statusOf(err)
		}
		page.Operations = append(page.Operations, op)
	}
	return page, nil
}

// CancelOperation ends one client's interest in an action; the action itself is
// killed when no other operation waits for it. It may be repeated. An unknown
// operation is INVALID_ARGUMENT, as in BuildGrid.
func (o *operations) CancelOperation(ctx context.Context, req *longrunningpb.CancelOperationRequest) (*emptypb.Empty, error) {
	name, err := o.instances.operationName(req.GetName())
	if err != nil {
		return nil, err
	}
	if err := o.operations.Cancel(ctx, name); err != nil {
		if errors.Is(err, sched.ErrNotFound) {
			return nil, status.Errorf(codes.InvalidArgument, "Operation name does not exist: [%s]", idOf(name))
		}
		return nil, statusOf(err)
	}
	return &emptypb.Empty{}, nil
}

// DeleteOperation forgets an operation that is done. One that is not is
// FAILED_PRECONDITION: cancel it first.
func (o *operations) DeleteOperation(ctx context.Context, req *longrunningpb.DeleteOperationRequest) (*emptypb.Empty, error) {
	name, err := o.instances.operationName(req.GetName())
	if err != nil {
		return nil, err
	}
	if err := o.operations.Delete(ctx, name); err != nil {
		return nil, operationError(name, err)
	}
	return &emptypb.Empty{}, nil
}

// WaitOperation returns when the operation is done, or with its state when the
// request's timeout has passed. Without a timeout it waits as long as the call
// may last.
func (o *operations) WaitOperation(ctx context.Context, req *longrunningpb.WaitOperationRequest) (*longrunningpb.Operation, error) {
	name, err := o.instances.operationName(req.GetName())
	if err != nil {
		return nil, err
	}
	waitCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	if t := req.GetTimeout(); t != nil {
		if t.CheckValid() != nil || t.AsDuration() < 0 {
			return nil, invalidField("timeout", "is not a positive duration")
		}
		waitCtx, cancel = context.WithTimeout(waitCtx, t.AsDuration())
		defer cancel()
	}
	defer context.AfterFunc(o.closing, cancel)()
	w, err := o.operations.Watch(ctx, name)
	if err != nil {
		return nil, operationError(name, err)
	}
	defer w.Close()
	state, err := w.Next(ctx) // the current one, at once
	for last := state; err == nil && !state.Done; last = state {
		if state, err = w.Next(waitCtx); err != nil && errors.Is(waitCtx.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
			state, err = last, nil
			break
		}
	}
	if err != nil {
		if o.closing.Err() != nil || errors.Is(err, io.EOF) {
			err = sched.ErrDraining
		}
		return nil, statusOf(err)
	}
	return operationOf(state, nil)
}

// operationError words an unknown operation as BuildGrid does.
func operationError(name string, err error) error {
	if errors.Is(err, sched.ErrNotFound) {
		return status.Errorf(codes.NotFound, "Operation name does not exist: [%s]", idOf(name))
	}
	return statusOf(err)
}

// idOf returns what follows the instance in an operation's name.
func idOf(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// trailerOf tells who asked for an operation.
func trailerOf(op *queue.Operation) metadata.MD {
	md := metadata.MD{}
	if op == nil {
		return md
	}
	if len(op.RequestMetadata) > 0 {
		md.Set(requestMetadataKey, string(op.RequestMetadata))
	}
	if identity := clientIdentity(op.Client); identity != nil {
		md.Set(clientIdentityKey, string(identity))
	}
	return md
}
