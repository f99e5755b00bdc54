package k8s

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// apiServer is as much of a Kubernetes API server as kubectl needs to create what
// this project has: it says which kinds there are, and takes each name once.
type apiServer struct {
	mu    sync.Mutex
	have  map[string]bool // Kind/name
	other []string        // requests that change something in another way
}

// kinds are the resources by group and version.
var kinds = map[string][]string{
	"v1":                           {"ConfigMap configmaps", "Secret secrets", "Service services", "ServiceAccount serviceaccounts"},
	"apps/v1":                      {"Deployment deployments", "StatefulSet statefulsets"},
	"batch/v1":                     {"Job jobs"},
	"networking.k8s.io/v1":         {"NetworkPolicy networkpolicies"},
	"policy/v1":                    {"PodDisruptionBudget poddisruptionbudgets"},
	"rbac.authorization.k8s.io/v1": {"Role roles", "RoleBinding rolebindings"},
}

func startAPIServer(t *testing.T) (*apiServer, string) {
	t.Helper()
	s := &apiServer{have: map[string]bool{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch path := strings.Trim(r.URL.Path, "/"); {
	case r.Method == http.MethodPost:
		s.create(w, r)
	case r.Method != http.MethodGet:
		s.mu.Lock()
		s.other = append(s.other, r.Method+" "+path)
		s.mu.Unlock()
		w.WriteHeader(http.StatusMethodNotAllowed)
	case path == "api":
		reply(w, http.StatusOK, map[string]any{"kind": "APIVersions", "versions": []string{"v1"}})
	case path == "apis":
		reply(w, http.StatusOK, map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": groups()})
	default:
		version := strings.TrimPrefix(strings.TrimPrefix(path, "apis/"), "api/")
		if kinds[version] == nil {
			reply(w, http.StatusNotFound, map[string]any{"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound"})
			return
		}
		reply(w, http.StatusOK, map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources(version)})
	}
}

func groups() []map[string]any {
	var list []map[string]any
	for version := range kinds {
		if group, number, ok := strings.Cut(version, "/"); ok {
			v := map[string]string{"groupVersion": version, "version": number}
			list = append(list, map[string]any{"name": group, "versions": []any{v}, "preferredVersion": v})
		}
	}
	return list
}

func resources(version string) []map[string]any {
	var list []map[string]any
	for _, kind := range kinds[version] {
		name, plural, _ := strings.Cut(kind, " ")
		list = append(list, map[string]any{"name": plural, "kind": name, "namespaced": true, "verbs": []string{"create", "get"}})
	}
	return list
}

func (s *apiServer) create(w http.ResponseWriter, r *http.Request) {
	var object struct {
		Kind     string
		Metadata struct{ Name string }
	}
	data, _ := io.ReadAll(r.Body)
	if err := json.Unmarshal(data, &object); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	id := object.Kind + "/" + object.Metadata.Name
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.have[id] {
		reply(w, http.StatusConflict, map[string]any{
			"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 409, "reason": "AlreadyExists", "message": fmt.Sprintf("%s already exists", id),
		})
		return
	}
	s.have[id] = true
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(data)
}

func reply(w http.ResponseWriter, code int, body any) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}
