package route

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/node/sched"
)

// FuzzPassOn passes a call on with whatever a client may have sent with it: gRPC takes
// all of it, and the leader gets the call.
func FuzzPassOn(f *testing.F) {
	for key, value := range map[string]string{
		"x-request-actor": "jürgen", "a!": "b", "": "x", ":path": "/x", "raw-bin": "\x00\xff", "UPPER": "x", "te": "gzip",
		"connection": "close", "host": "x", "content-type": "text/html", keyOperation: "mine", "grpc-timeout": "1n", "x-space": " a ",
	} {
		f.Add(key, value)
	}
	w := newWorld()
	c := newTrio(f, w.term)
	f.Cleanup(c.end)
	c.lead("a")
	n := c.nodes["b"]
	m := n.router.services[1].methods["GetOperation"]
	f.Fuzz(func(t *testing.T, key, value string) {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.MD{key: {value}})
		_, err := n.router.unaryAt(ctx, newTarget("a", nil), m, get("main/none"), sched.Origin{Client: value})
		if status.Code(err) != codes.NotFound {
			t.Errorf("with %q %q: %v", key, value, err)
		}
	})
}
