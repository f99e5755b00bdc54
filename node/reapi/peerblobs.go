package reapi

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/bgrid-node/bgrid-node/node/logstream"
	"github.com/bgrid-node/bgrid-node/store/cas"
)

// BlobsOptions says what RegisterBlobs serves.
type BlobsOptions struct {
	// Store is this node's own, which alone is asked and written to. Required.
	Store *cas.Store
	// Streams are this node's log streams, by the names of Instance, which other
	// nodes read and write for their clients; LogBlobs is where finished ones are.
	// nil: none are served.
	Streams  *logstream.Hub
	LogBlobs Blobs
	Instance string
	// Closing ends when the server is about to stop. nil: never.
	Closing context.Context //nolint:containedctx // a signal
	// Logger gets what peers are told as INTERNAL. slog.Default() when nil.
	Logger *slog.Logger
}

// RegisterBlobs makes s serve the blobs of this node alone to the other nodes of
// its cluster: ContentAddressableStorage and ByteStream under the empty instance
// name, as Register has them. A peer that stores the output of an action says so
// (PeerClassHeader), and finds the room that is kept for those. s must have been
// made with ServerOptions, and must not be reachable for clients: whoever asks it
// hears of this node only.
func RegisterBlobs(s grpc.ServiceRegistrar, o BlobsOptions) error {
	if o.Store == nil {
		return errors.New("register services: Store must be set")
	}
	all := Options{CAS: o.Store, Closing: o.Closing, Logger: o.Logger}.withDefaults()
	g := guarded{s, all.Logger}
	streams := newByteStream(instances{}, all)
	streams.classOf = classOfPeers
	if o.Streams != nil {
		streams.streams, streams.logBlobs = o.Streams, o.LogBlobs
		streams.instances = instances{name: o.Instance, empty: true}
	}
	registerCAS(g, &casService{store: all.CAS, classOf: classOfPeers})
	registerByteStream(g, streams)
	return nil
}

// PeerClassHeader is the metadata key by which a peer says on whose behalf it
// writes: PeerClassOutput for the output of an action. Anything else is an upload.
const (
	PeerClassHeader = "bgrid-class"
	PeerClassOutput = "output"
)

// classOf tells the class of what a call writes. nil: all are uploads of clients.
type classOf func(context.Context) cas.Class

func (f classOf) of(ctx context.Context) cas.Class {
	if f == nil {
		return cas.Upload
	}
	return f(ctx)
}

func classOfPeers(ctx context.Context) cas.Class {
	md, _ := metadata.FromIncomingContext(ctx)
	if values := md[PeerClassHeader]; len(values) == 1 && values[0] == PeerClassOutput {
		return cas.Output
	}
	return cas.Upload
}
