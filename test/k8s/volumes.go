package k8s

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// checkVolumes checks that mounts have volumes, volumes have mounts, and that
// what volumes are made of exists.
func checkVolumes(s *Set, r *report) {
	for _, w := range s.Workloads() {
		volumes := map[string]int{} // mounts of each
		for _, v := range w.Pod.Volumes {
			if _, twice := volumes[v.Name]; twice {
				r.addf(w.ID, "volume %s is given twice", v.Name)
			}
			volumes[v.Name] = 0
			s.checkSource(r, w.ID+" volume "+v.Name, &v)
		}
		for _, c := range w.Claims {
			if _, twice := volumes[c.Name]; twice {
				r.addf(w.ID, "volume %s is given twice", c.Name)
			}
			volumes[c.Name] = 0
			if c.Spec.Resources.Requests.Storage().Sign() <= 0 || len(c.Spec.AccessModes) != 1 {
				r.addf(w.ID, "claim %s needs a size and one access mode", c.Name)
			}
		}
		for _, c := range slices.Concat(w.Pod.InitContainers, w.Pod.Containers) {
			checkMounts(r, w.ID+" container "+c.Name, c.VolumeMounts, volumes)
		}
		for name, mounts := range volumes {
			if mounts == 0 {
				r.addf(w.ID, "volume %s is mounted nowhere", name)
			}
		}
	}
}

func checkMounts(r *report, where string, mounts []corev1.VolumeMount, volumes map[string]int) {
	var paths []string
	for _, m := range mounts {
		if _, ok := volumes[m.Name]; !ok {
			r.addf(where, "mount %s: the pod has no such volume", m.Name)
		}
		volumes[m.Name]++
		if !path.IsAbs(m.MountPath) || strings.Contains(m.MountPath, ":") {
			r.addf(where, "mountPath %q: want an absolute path", m.MountPath)
		}
		for _, other := range paths {
			if strings.HasPrefix(m.MountPath+"/", other+"/") || strings.HasPrefix(other+"/", m.MountPath+"/") {
				r.addf(where, "mountPath %s and %s: one hides the other", m.MountPath, other)
			}
		}
		paths = append(paths, m.MountPath)
	}
}

func (s *Set) checkSource(r *report, where string, v *corev1.Volume) {
	switch {
	case v.ConfigMap != nil:
		if _, ok := named[*corev1.ConfigMap](s, v.ConfigMap.Name); !ok {
			r.addf(where, "there is no ConfigMap %s", v.ConfigMap.Name)
		}
		for _, item := range v.ConfigMap.Items {
			s.checkKey(r, where, v.ConfigMap.Name, item.Key)
		}
	case v.Secret != nil:
		if !slices.Contains(s.madeSecrets(), v.Secret.SecretName) {
			r.addf(where, "nothing makes a Secret %s", v.Secret.SecretName)
		}
		if valueOr(v.Secret.Optional, false) {
			r.addf(where, "is optional: the pod would start without it")
		}
	case v.EmptyDir != nil:
		if v.EmptyDir.SizeLimit == nil || v.EmptyDir.SizeLimit.Sign() <= 0 {
			r.addf(where, "has no sizeLimit: it could fill the node")
		}
	default:
		r.addf(where, "only configMap, secret and emptyDir are used here: %+v", v.VolumeSource)
	}
}

func (s *Set) checkKey(r *report, where, config, key string) {
	c, ok := named[*corev1.ConfigMap](s, config)
	if !ok {
		r.addf(where, "there is no ConfigMap %s", config)
	} else if _, ok := c.Data[key]; !ok {
		r.addf(where, "ConfigMap %s has no key %s", config, key)
	}
}

// madeSecrets returns the names of the Secrets that Jobs make.
func (s *Set) madeSecrets() []string {
	var names []string
	for _, w := range s.Workloads() {
		for _, c := range w.Pod.Containers {
			for _, arg := range c.Args {
				if name, ok := strings.CutPrefix(arg, "--kubernetes-secret="); ok {
					names = append(names, name)
				}
			}
		}
	}
	return names
}
