package k8s

import (
	"net/netip"

	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// checkPolicies checks that budgets and network policies are about pods that exist,
// and that their ports do.
func checkPolicies(s *Set, r *report) {
	for _, v := range all[*policyv1.PodDisruptionBudget](s) {
		id := "PodDisruptionBudget/" + v.Name
		of := s.matched(r, id, v.Spec.Selector)
		if len(of) != 1 {
			r.addf(id, "is for the pods of %d workloads, want one", len(of))
		}
		if v.Spec.MaxUnavailable == nil || v.Spec.MinAvailable != nil || v.Spec.MaxUnavailable.IntValue() != 1 {
			r.addf(id, "want maxUnavailable: 1, which is right for every number of replicas")
		}
	}
	for _, v := range all[*networkingv1.NetworkPolicy](s) {
		id := "NetworkPolicy/" + v.Name
		of := s.matched(r, id, &v.Spec.PodSelector)
		if len(of) == 0 {
			r.addf(id, "is for no pod")
			continue
		}
		for _, rule := range v.Spec.Ingress {
			s.checkPolicyPeers(r, id, rule.From)
			for _, p := range rule.Ports {
				checkPolicyPort(r, id, p, of)
			}
		}
		for _, rule := range v.Spec.Egress {
			targets := s.checkPolicyPeers(r, id, rule.To)
			for _, p := range rule.Ports {
				checkPolicyPort(r, id, p, targets)
			}
		}
	}
}

func (s *Set) matched(r *report, id string, selector *metav1.LabelSelector) []Workload {
	var list []Workload
	for _, w := range s.Workloads() {
		if matches(r, id, selector, w.Labels) {
			list = append(list, w)
		}
	}
	return list
}

// checkPolicyPeers returns the workloads that rules name by pod.
func (s *Set) checkPolicyPeers(r *report, id string, peers []networkingv1.NetworkPolicyPeer) []Workload {
	var named []Workload
	for _, p := range peers {
		if p.IPBlock != nil {
			checkBlock(r, id, p.IPBlock)
		}
		if p.PodSelector == nil || len(p.PodSelector.MatchLabels)+len(p.PodSelector.MatchExpressions) == 0 {
			continue // not by pod, or all of the namespace
		}
		found := s.matched(r, id, p.PodSelector)
		if len(found) == 0 {
			r.addf(id, "names pods that do not exist: %v", p.PodSelector.MatchLabels)
		}
		named = append(named, found...)
	}
	return named
}

func checkPolicyPort(r *report, id string, p networkingv1.NetworkPolicyPort, of []Workload) {
	if p.Port == nil {
		return
	}
	if p.Port.Type == intstr.Int {
		checkPortNumber(r, id, p.Port.IntVal)
		return
	}
	if len(of) == 0 {
		r.addf(id, "port %s: a name needs pods that have it", p.Port.StrVal)
	}
	for _, w := range of {
		if _, ok := w.podPort(p.Port.StrVal); !ok {
			r.addf(id, "port %s: the pods of %s have none", p.Port.StrVal, w.ID)
		}
	}
}

func checkBlock(r *report, id string, b *networkingv1.IPBlock) {
	whole, err := netip.ParsePrefix(b.CIDR)
	if err != nil {
		r.addf(id, "cidr: %v", err)
		return
	}
	for _, e := range b.Except {
		part, err := netip.ParsePrefix(e)
		if err != nil || !whole.Contains(part.Addr()) || part.Bits() <= whole.Bits() || part != part.Masked() {
			r.addf(id, "except %s is no part of %s", e, b.CIDR)
		}
	}
}
