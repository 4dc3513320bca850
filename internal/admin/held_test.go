package admin

import (
	"context"
	"strings"
	"testing"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

type fakeHeld struct{ did []string }

func (f *fakeHeld) List(context.Context) ([]HeldMessage, error) {
	return []HeldMessage{
		{MID: 7, State: "held", Cause: "judging it failed 3 times\x1b[2J"},
		{MID: 9, State: "corrupt", Since: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Cause: "record: checksum"},
	}, nil
}
func (f *fakeHeld) Retry(_ context.Context, mid mail.MID) error {
	if mid != 7 {
		return errs.New(errs.NotFound, "no message %s is held", mid)
	}
	f.did = append(f.did, "retry 7")
	return nil
}
func (f *fakeHeld) Remove(_ context.Context, mid mail.MID) error {
	f.did = append(f.did, "remove "+mid.String())
	return nil
}

// What was set aside is listed, retried, and removed only when confirmed (P5).
func TestHeldMessages(t *testing.T) {
	f := &fakeHeld{}
	p := &post{house: language(t, HeldCommands(f)...)}
	wants(t, "list", p.exec(t, "heldmessages"), "MID        State    Since", "7          held     -", "9          corrupt  Wed Mar  4 05:06:07 2026 UTC record: checksum")
	wants(t, "retry", p.exec(t, "heldmessages retry 7"), "Message 7 is back in the work queue.")
	wants(t, "retry of another", p.exec(t, "heldmessages retry 8"), "no message 8 is held")
	wants(t, "not confirmed", p.exec(t, "heldmessages remove 9"), "Nothing was removed")
	wants(t, "remove", p.exec(t, "heldmessages remove 9 y"), "Message 9 was removed.")
	wants(t, "nonsense", p.exec(t, "heldmessages remove x y"), "is not a message ID")
	if got := strings.Join(f.did, ", "); got != "retry 7, remove 9" {
		t.Error(got)
	}
}
