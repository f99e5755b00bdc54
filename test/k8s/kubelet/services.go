package kubelet

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Addresses of services: the last of the network, below this process's own.
const firstService = 201

// service is one with an address of its own: each connection goes to a pod that is
// ready, and stays there.
type service struct {
	cluster   *Cluster
	object    *corev1.Service
	address   string // without a port; "" for a headless one
	listeners []net.Listener
	wg        sync.WaitGroup
}

func (c *Cluster) startServices(ctx context.Context) error {
	for i, object := range c.options.Set.Services() {
		s := &service{cluster: c, object: object}
		c.services = append(c.services, s)
		if object.Spec.ClusterIP == corev1.ClusterIPNone {
			continue
		}
		s.address = fmt.Sprint("10.77.0.", firstService+i)
		if out, err := exec.CommandContext(ctx, "ip", "address", "add", s.address+"/24", "dev", "bridge").CombinedOutput(); err != nil {
			return fmt.Errorf("address of service %s: %w: %s", object.Name, err, out)
		}
		for _, port := range object.Spec.Ports {
			l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", s.address, port.Port))
			if err != nil {
				return fmt.Errorf("service %s: %w", object.Name, err)
			}
			s.listeners = append(s.listeners, l)
			s.wg.Go(func() { s.accept(l, port) })
		}
	}
	return nil
}

// Service returns the address of a service's port for clients outside.
func (c *Cluster) Service(name string) string {
	for _, s := range c.services {
		if s.object.Name == name && len(s.listeners) > 0 {
			return s.listeners[0].Addr().String()
		}
	}
	return ""
}

func (s *service) close() {
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.wg.Wait()
}

// selects tells whether a pod is behind the service, ready or not.
func (s *service) selects(p *Pod) bool {
	return labels.SelectorFromSet(s.object.Spec.Selector).Matches(labels.Set(p.workload.Labels))
}

func (s *service) accept(l net.Listener, port corev1.ServicePort) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() { s.pass(client, port) })
	}
}

func (s *service) pass(client net.Conn, port corev1.ServicePort) {
	defer client.Close()
	ready := s.cluster.matching(func(p *Pod) bool { return s.selects(p) && p.Ready() })
	if len(ready) == 0 {
		return
	}
	p := ready[rand.IntN(len(ready))]
	number, ok := p.workload.TargetPort(port.TargetPort)
	if !ok {
		return
	}
	pod, err := net.Dial("tcp", net.JoinHostPort(p.Address(), fmt.Sprint(number)))
	if err != nil {
		return
	}
	defer pod.Close()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, pod}, {pod, client}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].(*net.TCPConn).CloseWrite()
		})
	}
	go func() { // what a pod that is gone leaves behind
		<-p.exited
		_ = client.Close()
		_ = pod.Close()
	}()
	both.Wait()
}

// addresses returns what the name of the service leads to, or of one pod of it.
func (s *service) addresses(pod string) []string {
	if s.address != "" && pod == "" {
		return []string{s.address}
	}
	var list []string
	for _, p := range s.cluster.matching(func(p *Pod) bool {
		return s.selects(p) && p.isNamed() && (s.object.Spec.PublishNotReadyAddresses || p.Ready()) && (pod == "" || p.name == pod)
	}) {
		list = append(list, p.Address())
	}
	return list
}

// lookUp answers a name such as bgrid-0.bgrid-peers.test.svc.cluster.local, or nil when
// there is none.
func (c *Cluster) lookUp(name string) []string {
	host, ok := strings.CutSuffix(strings.TrimSuffix(name, "."), "."+namespaceZone)
	if !ok {
		return nil
	}
	pod, rest, ofPod := strings.Cut(host, ".")
	if !ofPod {
		pod, rest = "", host
	}
	for _, s := range c.services {
		if s.object.Name == rest {
			return s.addresses(pod)
		}
	}
	return nil
}
