package k8s

import (
	"fmt"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// checkRights checks that the only right that is given is to create Secrets, and
// that bindings join what exists.
func checkRights(s *Set, r *report) {
	only := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}}}
	for _, v := range all[*rbacv1.Role](s) {
		if !reflect.DeepEqual(v.Rules, only) {
			r.addf("Role/"+v.Name, "gives %v; want the right to create Secrets and nothing else", v.Rules)
		}
	}
	for _, v := range all[*rbacv1.RoleBinding](s) {
		id := "RoleBinding/" + v.Name
		if _, ok := named[*rbacv1.Role](s, v.RoleRef.Name); !ok || v.RoleRef.Kind != "Role" || v.RoleRef.APIGroup != rbacv1.GroupName {
			r.addf(id, "roleRef %v: there is no such role", v.RoleRef)
		}
		for _, subject := range v.Subjects {
			if _, ok := named[*corev1.ServiceAccount](s, subject.Name); !ok || subject.Kind != rbacv1.ServiceAccountKind || subject.Namespace != "" {
				r.addf(id, "subject %s %s: there is none of that name here", subject.Kind, subject.Name)
			}
		}
	}
	for _, w := range s.Workloads() {
		if w.Pod.ServiceAccountName != "" && !s.bound(w.Pod.ServiceAccountName) {
			r.addf(w.ID, "its service account %s has no right", w.Pod.ServiceAccountName)
		}
	}
	for _, name := range s.madeSecrets() {
		if !s.makesSecret(name) {
			r.addf("Secret/"+name, "its Job has no service account that may make it")
		}
	}
}

func (s *Set) bound(account string) bool {
	for _, b := range all[*rbacv1.RoleBinding](s) {
		for _, subject := range b.Subjects {
			if subject.Name == account {
				return true
			}
		}
	}
	return false
}

func (s *Set) makesSecret(name string) bool {
	for _, w := range s.Workloads() {
		for _, c := range w.Pod.Containers {
			for _, arg := range c.Args {
				if arg == fmt.Sprintf("--kubernetes-secret=%s", name) && s.bound(w.Pod.ServiceAccountName) {
					return true
				}
			}
		}
	}
	return false
}
