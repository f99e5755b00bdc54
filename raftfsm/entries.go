package raftfsm

import (
	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// Submit wraps m for Propose; so do the others below.
func Submit(m *queuepb.Submit) *commandpb.Entry {
	return &commandpb.Entry{Entry: &commandpb.Entry_Submit{Submit: m}}
}

// Attach wraps m.
func Attach(m *queuepb.Attach) *commandpb.Entry {
	return &commandpb.Entry{Entry: &commandpb.Entry_Attach{Attach: m}}
}

// Assign wraps m.
func Assign(m *queuepb.Assign) *commandpb.Entry {
	return &commandpb.Entry{Entry: &commandpb.Entry_Assign{Assign: m}}
}

// Complete wraps m.
func Complete(m *queuepb.Complete) *commandpb.Entry {
	return &commandpb.Entry{Entry: &commandpb.Entry_Complete{Complete: m}}
}

// Requeue wraps m.
func Requeue(m *queuepb.Requeue) *commandpb.Entry {
	return &commandpb.Entry{Entry: &commandpb.Entry_Requeue{Requeue: m}}
}

// CancelOperation wraps m.
func CancelOperation(m *queuepb.CancelOperation) *commandpb.Entry {
	return &commandpb.Entry{Entry: &commandpb.Entry_CancelOperation{CancelOperation: m}}
}

// DeleteOperation wraps m.
func DeleteOperation(m *queuepb.DeleteOperation) *commandpb.Entry {
	return &commandpb.Entry{Entry: &commandpb.Entry_DeleteOperation{DeleteOperation: m}}
}

// OpenSession wraps m.
func OpenSession(m *queuepb.OpenSession) *commandpb.Entry {
	return &commandpb.Entry{Entry: &commandpb.Entry_OpenSession{OpenSession: m}}
}

// UpdateSession wraps m.
func UpdateSession(m *queuepb.UpdateSession) *commandpb.Entry {
	return &commandpb.Entry{Entry: &commandpb.Entry_UpdateSession{UpdateSession: m}}
}

// CloseSession wraps m.
func CloseSession(m *queuepb.CloseSession) *commandpb.Entry {
	return &commandpb.Entry{Entry: &commandpb.Entry_CloseSession{CloseSession: m}}
}

// Prune wraps m.
func Prune(m *queuepb.Prune) *commandpb.Entry {
	return &commandpb.Entry{Entry: &commandpb.Entry_Prune{Prune: m}}
}

// ActionCachePut wraps m.
func ActionCachePut(m *commandpb.ActionCachePut) *commandpb.Entry {
	return &commandpb.Entry{Entry: &commandpb.Entry_ActionCachePut{ActionCachePut: m}}
}

// ActionCacheEvict wraps m.
func ActionCacheEvict(m *commandpb.ActionCacheEvict) *commandpb.Entry {
	return &commandpb.Entry{Entry: &commandpb.Entry_ActionCacheEvict{ActionCacheEvict: m}}
}
