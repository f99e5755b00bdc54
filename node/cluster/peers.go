package cluster

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
)

// PeerSource says where other nodes may be found. It is asked anew each time:
// names and addresses come and go.
type PeerSource interface {
	// Lookup returns addresses, HOST:PORT, this node's own perhaps among them. An
	// error means that none is known now.
	Lookup(ctx context.Context) ([]string, error)
}

// StaticPeers is a fixed list of HOST:PORT.
type StaticPeers []string

// Lookup implements PeerSource.
func (p StaticPeers) Lookup(context.Context) ([]string, error) { return p, nil }

// DNSPeers are all addresses of one name, such as that of a headless service.
type DNSPeers struct {
	Name, Port string
}

// Lookup implements PeerSource.
func (p DNSPeers) Lookup(ctx context.Context) ([]string, error) {
	hosts, err := net.DefaultResolver.LookupHost(ctx, p.Name)
	if err != nil {
		return nil, fmt.Errorf("look up peers: %w", err)
	}
	for i, h := range hosts {
		hosts[i] = net.JoinHostPort(h, p.Port)
	}
	slices.Sort(hosts)
	return slices.Compact(hosts), nil
}

// ParsePeers reads the values of --peers: HOST:PORT each, or dns:NAME:PORT.
// Several, of either form, are all asked. None: nil.
func ParsePeers(values []string) (PeerSource, error) {
	var static StaticPeers
	var all manyPeers
	for _, v := range values {
		name, dns := strings.CutPrefix(v, "dns:")
		host, port, err := net.SplitHostPort(name)
		if err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("--peers %q: want HOST:PORT, or dns:NAME:PORT", v)
		}
		if dns {
			all = append(all, DNSPeers{Name: host, Port: port})
		} else {
			static = append(static, v)
		}
	}
	switch {
	case len(all) == 0 && len(static) == 0:
		return nil, nil
	case len(all) == 0:
		return static, nil
	case len(static) > 0:
		all = append(all, static)
	}
	return all, nil
}

// manyPeers are several sources; one that fails does not hide the others.
type manyPeers []PeerSource

func (m manyPeers) Lookup(ctx context.Context) ([]string, error) {
	var found []string
	var failed error
	for _, p := range m {
		addrs, err := p.Lookup(ctx)
		if err != nil {
			failed = err
		}
		found = append(found, addrs...)
	}
	if len(found) == 0 {
		return nil, failed
	}
	return found, nil
}
