// Package k8s checks the Kubernetes manifests of this project: it decodes them
// strictly, and checks what the API server does not, above all what refers to what.
package k8s

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
)

// Object is one decoded manifest.
type Object struct {
	File  string
	Kind  string
	Value metav1.Object // such as *appsv1.StatefulSet
}

// Set is all manifests that are deployed together.
type Set struct{ Objects []Object }

// Files reads what `kubectl create -Rf dir` reads: by name, files with one of three
// extensions.
func Files(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files[name] = data
		return err
	})
	return files, err
}

// Decode decodes the documents of all files. Unknown fields, fields given twice,
// fields of another case and values of the wrong type are errors, as are kinds
// that this project does not use.
func Decode(files map[string][]byte) (*Set, error) {
	set := &Set{}
	var errs []error
	for name, data := range files {
		for dec := yaml.NewDecoder(bytes.NewReader(data)); ; {
			var doc yaml.Node
			err := dec.Decode(&doc)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
				break
			}
			object, err := decodeOne(&doc)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: line %d: %w", name, doc.Line, err))
				continue
			}
			object.File = name
			set.Objects = append(set.Objects, object)
		}
	}
	slices.SortFunc(set.Objects, func(a, b Object) int { return strings.Compare(a.id(), b.id()) })
	return set, errors.Join(errs...)
}

func decodeOne(doc *yaml.Node) (Object, error) {
	if err := oldWords(doc); err != nil {
		return Object{}, err
	}
	var tree any
	if err := doc.Decode(&tree); err != nil {
		return Object{}, err
	}
	data, err := json.Marshal(tree)
	if err != nil {
		return Object{}, err
	}
	var kind metav1.TypeMeta
	if err := json.Unmarshal(data, &kind); err != nil {
		return Object{}, err
	}
	value := newObject(kind.APIVersion + " " + kind.Kind)
	if value == nil {
		return Object{}, fmt.Errorf("%s %s: not a kind that is used here", kind.APIVersion, kind.Kind)
	}
	strict, err := kjson.UnmarshalStrict(data, value)
	if err = errors.Join(append(strict, err)...); err != nil {
		return Object{}, fmt.Errorf("%s %s: %w", kind.Kind, value.GetName(), err)
	}
	return Object{Kind: kind.Kind, Value: value}, nil
}

// newObject returns an empty object. All are of stable versions: nothing here is
// deprecated, or will be gone, in a version that has them.
func newObject(versionAndKind string) metav1.Object {
	switch versionAndKind {
	case "v1 ConfigMap":
		return &corev1.ConfigMap{}
	case "v1 Service":
		return &corev1.Service{}
	case "v1 ServiceAccount":
		return &corev1.ServiceAccount{}
	case "apps/v1 Deployment":
		return &appsv1.Deployment{}
	case "apps/v1 StatefulSet":
		return &appsv1.StatefulSet{}
	case "batch/v1 Job":
		return &batchv1.Job{}
	case "networking.k8s.io/v1 NetworkPolicy":
		return &networkingv1.NetworkPolicy{}
	case "policy/v1 PodDisruptionBudget":
		return &policyv1.PodDisruptionBudget{}
	case "rbac.authorization.k8s.io/v1 Role":
		return &rbacv1.Role{}
	case "rbac.authorization.k8s.io/v1 RoleBinding":
		return &rbacv1.RoleBinding{}
	}
	return nil
}

// oldWords refuses plain words that kubectl, which reads YAML 1.1, takes for booleans
// and this decoder for text.
func oldWords(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.Style == 0 {
		switch strings.ToLower(n.Value) {
		case "y", "n", "yes", "no", "on", "off":
			return fmt.Errorf("line %d: %s without quotes is a boolean for kubectl", n.Line, n.Value)
		}
	}
	for _, child := range n.Content {
		if err := oldWords(child); err != nil {
			return err
		}
	}
	return nil
}

func (o Object) id() string { return o.Kind + "/" + o.Value.GetName() }

// all returns the objects of one type.
func all[T metav1.Object](s *Set) []T {
	var list []T
	for _, o := range s.Objects {
		if v, ok := o.Value.(T); ok {
			list = append(list, v)
		}
	}
	return list
}

// named returns the object of one type with that name, or false.
func named[T metav1.Object](s *Set, name string) (T, bool) {
	for _, v := range all[T](s) {
		if v.GetName() == name {
			return v, true
		}
	}
	var none T
	return none, false
}

// Config returns the data of a ConfigMap by name; nil when there is none.
func (s *Set) Config(name string) map[string]string {
	if c, ok := named[*corev1.ConfigMap](s, name); ok {
		return c.Data
	}
	return nil
}

// Services returns all services.
func (s *Set) Services() []*corev1.Service { return all[*corev1.Service](s) }
