package reapi

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// requireChroot makes sure that an action for userchroot names a directory tree
// that is in the store as a whole, and protects it. What is wrong with it is
// FAILED_PRECONDITION with a MISSING violation for each blob; a value that is no
// digest is the subject of one, too, as it stands for nothing that is here.
func (a *actions) requireChroot(ctx context.Context, p *parsedAction) error {
	value := p.platform.chrootValue()
	if value == "" {
		return status.Errorf(codes.FailedPrecondition, "The runner %s needs the platform property %s: HASH/SIZE of the Directory that is the root of the file system.",
			runnerUserchroot, propertyChroot)
	}
	root, err := digest.Parse(value)
	if err != nil {
		return badChroot(value, fmt.Sprintf("is %q: want HASH/SIZE of a Directory: %v", value, err))
	}
	missing, err := a.inputs.InputRoot(ctx, root)
	switch {
	case errors.Is(err, actioncache.ErrMalformed):
		return badChroot(value, "is not a Directory that is whole: "+err.Error())
	case err != nil:
		return statusOf(err)
	case len(missing) > 0:
		return missingBlobs(missing)
	}
	return nil
}

func badChroot(value, why string) error {
	value = bounded(value)
	return detailed(codes.FailedPrecondition, bounded("The platform property "+propertyChroot+" "+why), &errdetails.PreconditionFailure{
		Violations: []*errdetails.PreconditionFailure_Violation{{Type: "MISSING", Subject: "blobs/" + value, Description: bounded(why)}},
	})
}

// chrootValue returns the property chrootRootDigest, "" when there is none.
func (p platform) chrootValue() string {
	for _, property := range p.carried {
		if property.Name == propertyChroot {
			return property.Value
		}
	}
	for _, property := range p.matched {
		if property.Name == propertyChroot {
			return property.Value
		}
	}
	return ""
}
