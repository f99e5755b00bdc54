package reapi

import (
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
)

// maxName bounds in bytes the names that clients send: of instances and of
// operations.
const maxName = 512

// instances knows the one instance that is served. With empty set, the empty
// name means it too, for the sake of clients that cannot name an instance.
type instances struct {
	name  string
	empty bool
}

// resolve returns the instance that a request names. Any other is
// INVALID_ARGUMENT, worded as in BuildGrid.
func (i instances) resolve(name string) (string, error) {
	if name == i.name || (i.empty && name == "") {
		return i.name, nil
	}
	return "", wrongInstance(name)
}

// resolveParent checks that a parent resource is the instance, or is below it, and
// returns it with the instance's own name.
func (i instances) resolveParent(parent string) (string, error) {
	switch {
	case i.name == "" || parent == i.name || strings.HasPrefix(parent, i.name+"/"):
		return parent, nil
	case parent == "":
		return i.resolve("")
	}
	return "", wrongInstance(parent)
}

func wrongInstance(name string) error {
	const most = 100
	if len(name) > most {
		name = name[:most] + "..."
	}
	message := bounded(fmt.Sprintf("Invalid instance name: [%s]", name))
	return detailed(codes.InvalidArgument, message, &errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "instance_name", Description: message}},
	})
}

// operationName checks the name of an operation, {instance}/{id}, and returns it
// with the instance's own name, as operations are stored.
func (i instances) operationName(name string) (string, error) {
	if len(name) > maxName {
		return "", invalidField("name", fmt.Sprintf("is longer than %d bytes", maxName))
	}
	prefix, id := "", name
	at := strings.LastIndexByte(name, '/')
	if at >= 0 {
		prefix, id = name[:at], name[at+1:]
	}
	if at < 0 && !i.empty {
		return "", wrongInstance("")
	}
	instance, err := i.resolve(prefix)
	if err != nil {
		return "", err
	}
	if id == "" {
		return "", invalidField("name", "want {instance}/{uuid}")
	}
	return instance + "/" + id, nil
}
