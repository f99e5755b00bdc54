package k8s

const (
	set      = "grid/statefulset.yaml"
	token    = "grid/token.yaml"
	config   = "grid/config.yaml"
	clients  = "grid/service.yaml"
	inner    = "grid/service-internal.yaml"
	peers    = "grid/service-peers.yaml"
	budget   = "grid/disruption.yaml"
	network  = "grid/network.yaml"
	host     = "workers/hosttools/deployment.yaml"
	bwrap    = "workers/bubblewrap/deployment.yaml"
	chroot   = "workers/userchroot/deployment.yaml"
	hostNet  = "workers/hosttools/network.yaml"
	chrootNe = "workers/userchroot/network.yaml"
)

// mistakes are changes of one place, and a part of what must be said of each.
var mistakes = []struct{ file, old, new, want string }{
	// decoding
	{set, "podManagementPolicy:", "podManagmentPolicy:", `unknown field "spec.podManagmentPolicy"`},
	{set, "failureThreshold: 150", "failurethreshold: 150", `unknown field "spec.template.spec.containers[0].startupProbe.failurethreshold"`},
	{set, "memory: 4Gi", "memory: 4Gib", "quantities must match"},
	{set, "storage: 50Gi", "storage: 50 GB", "quantities must match"},
	{set, "replicas: 3", "replicas: three", "cannot unmarshal string"},
	{set, "  replicas: 3", "  replicas: 3\n  replicas: 5", "already defined"},
	{budget, "policy/v1", "policy/v1beta1", "policy/v1beta1 PodDisruptionBudget: not a kind that is used here"},
	{set, "/metrics", "no", "no without quotes is a boolean for kubectl"},
	// names and selectors
	{clients, "name: bgrid\n", "name: Bgrid\n", "Service/Bgrid: name:"},
	{clients, "name: bgrid\n", "name: bgrid-internal\n", "Service/bgrid-internal: there are two"},
	{clients, "name: bgrid\n", "name: bgrid\n  namespace: grid\n", "has a namespace"},
	{budget, "    app.kubernetes.io/part-of: bgrid\n", "", "lacks the label app.kubernetes.io/part-of"},
	{set, "      app.kubernetes.io/component: grid\n  template", "      app.kubernetes.io/component: node\n  template", "StatefulSet/bgrid: its selector and the labels of the pods of StatefulSet/bgrid do not fit"},
	{host, "      app.kubernetes.io/component: hosttools\n  template", "  template", "Deployment/bgrid-worker-hosttools: its selector and the labels of the pods of Deployment/bgrid-worker-bubblewrap do not fit"},
	{bwrap, "              app.kubernetes.io/component: bubblewrap\n      securityContext", "              app.kubernetes.io/component: hosttools\n      securityContext", "does not select the pods themselves"},
	// services
	{clients, "component: grid\n  ports", "component: gird\n  ports", "Service/bgrid: selects the pods of 0 workloads"},
	{clients, "targetPort: grpc", "targetPort: grcp", "targetPort grcp is no port of the pods"},
	{inner, "targetPort: http", "targetPort: 8081", "targetPort 8081 is no port of the pods"},
	{clients, "port: 50051", "port: 500510", "Service/bgrid: port 500510"},
	{peers, "publishNotReadyAddresses: true", "publishNotReadyAddresses: false", "must be headless and publish"},
	{peers, "clusterIP: None", "clusterIP: \"\"", "must be headless and publish"},
	{peers, "port: 50052", "port: 50053", "is headless, so that port 50053"},
	{set, "serviceName: bgrid-peers", "serviceName: bgrid-peer", "serviceName bgrid-peer: no such service"},
	// budgets and network policies
	{budget, "maxUnavailable: 1", "minAvailable: 3", "want maxUnavailable: 1"},
	{budget, "      app.kubernetes.io/component: grid", "      app.kubernetes.io/component: node", "PodDisruptionBudget/bgrid: is for the pods of 0 workloads"},
	{network, "port: peer", "port: peers", "port peers: the pods of StatefulSet/bgrid have none"},
	{network, "              app.kubernetes.io/component: grid", "              app.kubernetes.io/component: node", "names pods that do not exist"},
	{hostNet, "port: grpc", "port: http2", "NetworkPolicy/bgrid-worker-hosttools: port http2"},
	{hostNet, "169.254.0.0/16", "169.254.0.0/33", "except 169.254.0.0/33 is no part"},
	{chrootNe, "      app.kubernetes.io/component: userchroot\n  policyTypes", "      app.kubernetes.io/component: chroot\n  policyTypes", "NetworkPolicy/bgrid-worker-userchroot: is for no pod"},
	// pods, as the API server would check them if they were not in a template
	{set, "containerPort: 8080", "containerPort: 898000", "port 898000: want 1 to 65535"},
	{set, "name: peer\n", "name: -peer\n", "is malformed or given twice"},
	{set, "            grpc:\n              port: 50051\n              service: liveness\n            periodSeconds: 10", "            grpc:\n              port: 50015\n              service: liveness\n            periodSeconds: 10", "livenessProbe: port 50015 is no port of the pod"},
	{set, "service: readiness", "service: ready", "readinessProbe: service"},
	{set, "timeoutSeconds: 3", "timeoutSeconds: 0", "readinessProbe: periodSeconds"},
	{set, "            - name: tmp\n              mountPath: /tmp\n", "            - name: temp\n              mountPath: /tmp\n", "mount temp: the pod has no such volume"},
	{set, "            - name: tmp\n              mountPath: /tmp\n", "", "volume tmp is mounted nowhere"},
	{set, "mountPath: /tmp", "mountPath: /etc/bgrid-node/config", "one hides the other"},
	{set, "mountPath: /tmp", "mountPath: tmp", "want an absolute path"},
	{set, "name: bgrid-config", "name: bgrid-conf", "there is no ConfigMap bgrid-conf"},
	{set, "secretName: bgrid-token", "secretName: bgrid-tokens", "nothing makes a Secret bgrid-tokens"},
	{set, "defaultMode: 0440", "optional: true", "is optional: the pod would start without it"},
	{set, "            sizeLimit: 1Gi\n", "            medium: \"\"\n", "has no sizeLimit"},
	{set, "emptyDir:\n            sizeLimit: 1Gi", "hostPath: {path: /tmp}", "only configMap, secret and emptyDir"},
	{token, "restartPolicy: OnFailure", "restartPolicy: Always", `restartPolicy "Always"`},
	{host, "enableServiceLinks: false", "enableServiceLinks: true", "enableServiceLinks must be false"},
	{host, "imagePullPolicy: IfNotPresent", "imagePullPolicy: Always", "images that were loaded into nodes by hand"},
	{host, "automountServiceAccountToken: false", "automountServiceAccountToken: true", "automountServiceAccountToken must be"},
	{token, "serviceAccountName: bgrid-token", "serviceAccountName: bgrid", "serviceAccountName bgrid: there is none"},
	// environment
	{set, "$(POD_NAME)", "$(POD_NAM)", "$(POD_NAM) is not set before"},
	{set, "fieldPath: metadata.name", "fieldPath: metadata.nam", "fieldPath metadata.nam"},
	{set, "- name: POD_NAME\n", "- name: BGRID_NODE_ID\n", "variable BGRID_NODE_ID is given twice"},
	// room
	{set, "memory: 512Mi", "memory: 5Gi", "requests 5Gi of memory, and is limited to 4Gi"},
	{set, "value: 3686MiB", "value: 4096MiB", "GOMEMLIMIT is 100 % of limits.memory"},
	{host, "              cpu: 250m\n", "", "want requests of cpu and memory"},
	{host, "value: 512MiB", "value: 3686MiB", "actions need the rest"},
	// security
	{bwrap, "allowPrivilegeEscalation: false", "privileged: true", "is privileged, or may become so"},
	{host, "runAsNonRoot: true", "runAsNonRoot: false", "runs as root"},
	{host, "runAsUser: 65532", "runAsUser: 0", "runs as root"},
	{host, "drop: [ALL]", "add: [SYS_ADMIN]", "capabilities: want all dropped"},
	{host, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "can write to its root file system"},
	{host, "type: RuntimeDefault", "type: Unconfined", "seccompProfile: want RuntimeDefault"},
	{chroot, "# No seccompProfile: see above.", "seccompProfile: {type: RuntimeDefault}", "RuntimeDefault forbids user namespaces"},
	{set, "terminationGracePeriodSeconds: 120", "hostNetwork: true", "shares namespaces with its node"},
	// rights
	{token, "verbs: [create]", "verbs: [create, get]", "want the right to create Secrets and nothing else"},
	{token, "resources: [secrets]", "resources: [secrets, pods]", "want the right to create Secrets and nothing else"},
	{token, "kind: Role\n  name: bgrid-token", "kind: ClusterRole\n  name: bgrid-token", "there is no such role"},
	{token, "kind: ServiceAccount\n    name: bgrid-token", "kind: ServiceAccount\n    name: bgrid", "subject ServiceAccount bgrid"},
	// options
	{config, `listen: ":50051"`, `listen: ":50050"`, `--listen is ":50050"`},
	{config, `peer-listen: ":50052"`, `peer-listen: ":7946"`, `--peer-listen is ":7946"`},
	{config, `http-listen: ":8080"`, `http-listen: ":8081"`, "preStop drains at 127.0.0.1:8080"},
	{config, "peers: dns:bgrid-peers:50052", "peers: dns:bgrid-peer:50052", `--peers is "dns:bgrid-peer:50052"`},
	{config, "peers: dns:bgrid-peers:50052", "peers: dns:bgrid-peers:50051", `"bgrid-peers:50051" is no service and port`},
	{config, "80% max 40GiB", "80% max 50GiB", "leaves less than a tenth"},
	{config, "/etc/bgrid-node/cluster/token", "/etc/bgrid-node/token", "no Secret is mounted there"},
	{config, "data-dir: /var/lib/bgrid-node", "data-dir: /tmp/bgrid-node", "is on no volume claim"},
	{config, "drain-timeout: 30s", "drain-timeout: 5m", "terminationGracePeriodSeconds is 2m0s"},
	{set, "replicas: 3", "replicas: 5", `--bootstrap-expect is "3", and there are 5 replicas`},
	{set, ".bgrid-peers:50052", ".bgrid:50052", `--advertise-peer is "bgrid-0.bgrid:50052"`},
	{set, "          lifecycle:\n            preStop:\n              exec:\n                command: [/usr/bin/bgrid-node, drain]\n", "", "lacks one of preStop"},
	{host, "bgrid-internal:50051", "bgrid-internal:50052", `"bgrid-internal:50052" is no service and port`},
	{host, "--instance=buildgrid", "--instance=main", `--instance is "main"`},
	{host, "--runner=hosttools", "--runner=bubblewrap", `--runner is "bubblewrap"`},
	{host, "--drain-timeout=10m", "--drain-timeout=1h", "terminationGracePeriodSeconds is 11m0s"},
	{host, "--tree-cache-size=5GiB", "--tree-cache-size=50GiB", "caches take"},
}
