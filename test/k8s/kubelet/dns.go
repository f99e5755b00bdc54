package kubelet

import (
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/bgrid-node/bgrid-node/test/cluster/netns"
)

// Names end in these, as in a cluster whose namespace is called test.
const (
	clusterZone   = "cluster.local"
	namespaceZone = "test.svc." + clusterZone
)

// ttl of answers in seconds, as CoreDNS has it for services.
const ttl = 5

// dnsServer answers for the names of services and pods.
type dnsServer struct {
	cluster *Cluster
	conn    net.PacketConn
	done    chan struct{}
}

// isNamed tells whether the pod's name is known yet.
func (p *Pod) isNamed() bool { return time.Now().After(p.named) }

func startDNS(c *Cluster) (*dnsServer, error) {
	conn, err := net.ListenPacket("udp", netns.Here+":53")
	if err != nil {
		return nil, err
	}
	s := &dnsServer{cluster: c, conn: conn, done: make(chan struct{})}
	go s.serve()
	return s, nil
}

func (s *dnsServer) close() {
	_ = s.conn.Close()
	<-s.done
}

func (s *dnsServer) serve() {
	defer close(s.done)
	buffer := make([]byte, 4096)
	for {
		n, from, err := s.conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		if reply, err := s.answer(buffer[:n]); err == nil {
			_, _ = s.conn.WriteTo(reply, from)
		}
	}
}

func (s *dnsServer) answer(question []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Response, m.Authoritative, m.RecursionAvailable = true, true, true
	m.Additionals = nil
	for _, q := range m.Questions {
		addresses := s.cluster.lookUp(strings.ToLower(q.Name.String()))
		if len(addresses) == 0 {
			m.RCode = dnsmessage.RCodeNameError
		}
		if q.Type != dnsmessage.TypeA {
			continue
		}
		for _, a := range addresses {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: ttl},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()},
			})
		}
	}
	return m.Pack()
}
