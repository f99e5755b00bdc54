package k8s

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	kjson "sigs.k8s.io/json"
)

const examples = "../../packaging/examples"

// tree reads an example as JSON.
func tree(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(examples, name))
	if err != nil {
		t.Fatal(err)
	}
	var object any
	if err := yaml.Unmarshal(data, &object); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if data, err = json.Marshal(object); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return data
}

// TestExamplesScaleWorkersThatExist checks whom the autoscaling examples are about, and
// that the monitor's labels and port are those of the grid.
func TestExamplesScaleWorkersThatExist(t *testing.T) {
	_, set := load(t, manifests)
	exists := func(name string) bool {
		for _, w := range set.Workloads() {
			if w.ID == "Deployment/"+name {
				return true
			}
		}
		return false
	}
	var hpa autoscalingv2.HorizontalPodAutoscaler
	if strict, err := kjson.UnmarshalStrict(tree(t, "hpa-external.yaml"), &hpa); err != nil || strict != nil {
		t.Errorf("hpa-external.yaml: %v %v", err, strict)
	}
	if target := hpa.Spec.ScaleTargetRef; target.Kind != "Deployment" || target.APIVersion != "apps/v1" || !exists(target.Name) {
		t.Errorf("hpa-external.yaml scales %v", target)
	}
	var keda struct {
		Spec struct{ ScaleTargetRef struct{ Name string } }
	}
	if err := json.Unmarshal(tree(t, "keda-scaledobject.yaml"), &keda); err != nil || !exists(keda.Spec.ScaleTargetRef.Name) {
		t.Errorf("keda-scaledobject.yaml scales %q, %v", keda.Spec.ScaleTargetRef.Name, err)
	}
	var monitor struct {
		Spec struct {
			Selector            struct{ MatchLabels map[string]string }
			PodMetricsEndpoints []struct{ Port string }
		}
	}
	if err := json.Unmarshal(tree(t, "podmonitor.yaml"), &monitor); err != nil {
		t.Fatal(err)
	}
	pods := set.selected(monitor.Spec.Selector.MatchLabels)
	if len(pods) != 1 || len(monitor.Spec.PodMetricsEndpoints) != 1 {
		t.Fatalf("podmonitor.yaml is about %d workloads and %d ports", len(pods), len(monitor.Spec.PodMetricsEndpoints))
	}
	if _, ok := pods[0].podPort(monitor.Spec.PodMetricsEndpoints[0].Port); !ok {
		t.Errorf("podmonitor.yaml: no port %s", monitor.Spec.PodMetricsEndpoints[0].Port)
	}
}
