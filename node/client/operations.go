package client

import (
	"context"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
)

// Operation returns an operation as it is now. An unknown one is ErrNotFound.
func (c *Client) Operation(ctx context.Context, name string) (*Operation, error) {
	var raw *longrunningpb.Operation
	err := c.retry(ctx, func(ctx context.Context) (err error) {
		raw, err = c.ops.GetOperation(ctx, &longrunningpb.GetOperationRequest{Name: name})
		return err
	})
	if err != nil {
		return nil, c.explain("get "+name, err)
	}
	return operationOf(raw)
}

// ListOperations hands each operation that matches filter to visit, page by page,
// until visit returns false. The filter's language is the server's; "" asks for
// its default (with BuildGrid and bgrid-node: those that are not done).
func (c *Client) ListOperations(ctx context.Context, filter string, visit func(*Operation) bool) error {
	req := &longrunningpb.ListOperationsRequest{Name: c.instance, Filter: filter, PageSize: 500}
	for {
		var page *longrunningpb.ListOperationsResponse
		err := c.retry(ctx, func(ctx context.Context) (err error) {
			page, err = c.ops.ListOperations(ctx, req)
			return err
		})
		if err != nil {
			return c.explain("list operations", err)
		}
		for _, raw := range page.Operations {
			op, err := operationOf(raw)
			if err != nil {
				return err
			}
			if !visit(op) {
				return nil
			}
		}
		if page.NextPageToken == "" {
			return nil
		}
		req.PageToken = page.NextPageToken
	}
}

// Cancel asks the server to give an operation up; to ask twice does no harm.
func (c *Client) Cancel(ctx context.Context, name string) error {
	err := c.retry(ctx, func(ctx context.Context) error {
		_, err := c.ops.CancelOperation(ctx, &longrunningpb.CancelOperationRequest{Name: name})
		return err
	})
	return c.explain("cancel "+name, err)
}
