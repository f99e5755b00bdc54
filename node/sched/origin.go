package sched

import "context"

// Origin is what another node of the cluster says of a call that it passes on.
type Origin struct {
	OperationID string // for Submission.OperationID
	Repeated    bool   // the same call was made before; its answer was lost
	Client      string // the caller's address, for Submission.Client
}

type originKey struct{}

// WithOrigin marks a call as passed on.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// OriginOf returns what WithOrigin said; zero for a call that came straight from
// its client.
func OriginOf(ctx context.Context) Origin {
	o, _ := ctx.Value(originKey{}).(Origin)
	return o
}
