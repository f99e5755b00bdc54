package admin

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Interceptors returns server options that count and time every gRPC call.
func (m *Metrics) Interceptors() []grpc.ServerOption {
	unary := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		done := m.begin(info.FullMethod)
		reply, err := handler(ctx, req)
		done(err)
		return reply, err
	}
	stream := func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		done := m.begin(info.FullMethod)
		err := handler(srv, ss)
		done(err)
		return err
	}
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(unary), grpc.ChainStreamInterceptor(stream)}
}

// methodCache keeps the children of the vectors, so that a call costs no lookup
// by label strings. It is bounded by the number of registered methods: the server
// calls no interceptor for an unknown one.
type methodCache struct{ methods sync.Map } // full method name -> *methodMetrics

type methodMetrics struct {
	seconds prometheus.Observer
	ok      prometheus.Counter
}

func (m *Metrics) begin(method string) func(error) {
	mm := m.method(method)
	m.inFlight.Inc()
	start := time.Now()
	return func(err error) {
		mm.seconds.Observe(time.Since(start).Seconds())
		m.inFlight.Dec()
		if err == nil {
			mm.ok.Inc()
			return
		}
		st, ok := status.FromError(err)
		if !ok {
			st = status.FromContextError(err) // as the server itself does
		}
		m.handled.WithLabelValues(method, st.Code().String()).Inc()
	}
}

func (m *Metrics) method(name string) *methodMetrics {
	if mm, ok := m.methods.methods.Load(name); ok {
		return mm.(*methodMetrics)
	}
	mm := &methodMetrics{
		seconds: m.seconds.WithLabelValues(name),
		ok:      m.handled.WithLabelValues(name, codes.OK.String()),
	}
	have, _ := m.methods.methods.LoadOrStore(name, mm)
	return have.(*methodMetrics)
}
