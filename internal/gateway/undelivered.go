package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// keptMail is the record of a message that failed for good and of which nobody
// could be told: DIR/undelivered/MID.json. MID.eml is the message as it would
// have been delivered; MID.txt says for people for whom it was, and why not.
type keptMail struct {
	Version int       `json:"version"` // 1
	MID     mail.MID  `json:"mid"`
	Key     mail.Key  `json:"key"`
	At      time.Time `json:"at"`  // kept since
	Why     string    `json:"why"` // nobody was told
	// Undecided: DNS has not said yet whether the sender may be told.
	Undecided bool         `json:"undecided,omitempty"`
	From      mail.Address `json:"from"`
	mail.Params
	Origin     mail.Origin     `json:"origin"`
	Accepted   time.Time       `json:"accepted"`
	Subject    string          `json:"subject"`
	MessageID  string          `json:"message_id"`
	Recipients []keptRecipient `json:"recipients"`
}

type keptRecipient struct {
	mail.RcptParams
	Address mail.Address `json:"address"`
	Code    int          `json:"code,omitempty"`
	Status  string       `json:"status,omitempty"`
	Reply   string       `json:"reply"`
	Remote  string       `json:"remote,omitempty"`
	Last    time.Time    `json:"last"`
	Expired bool         `json:"expired,omitempty"`
}

// item gives what is known of the message in the queue's form.
func (k *keptMail) item() *queue.Item {
	return &queue.Item{MID: k.MID, Key: k.Key, From: k.From, Params: k.Params, Origin: k.Origin, Accepted: k.Accepted, Subject: k.Subject, MessageID: k.MessageID}
}

// events gives what happened to the recipients.
func (k *keptMail) events() []queue.Event {
	out := make([]queue.Event, len(k.Recipients))
	for i, r := range k.Recipients {
		out[i] = queue.Event{Kind: queue.Failed, Expired: r.Expired, Recipient: queue.Recipient{
			RID: mail.RID(i), RcptParams: r.RcptParams, Address: r.Address, State: queue.Bounced, Code: r.Code, Status: r.Status, Reply: r.Reply, Remote: r.Remote, Last: r.Last,
		}}
	}
	return out
}

// The actions on kept mail that the ledger takes once. A manager counts its
// own from 1.
const (
	reportAction  = 1 << 31
	deliverAction = 3 << 30
)

// action names one of them; the same message may be kept again later.
func (k *keptMail) action(kind uint32) mail.ActionKey {
	return mail.NewActionKey(k.Key, kind|uint32(k.At.Unix())&(1<<30-1))
}

// keptStore is the directory of kept mail.
type keptStore struct {
	dir string

	busy sync.Mutex // one change at a time

	mu        sync.Mutex
	undecided map[mail.MID]bool
}

func (s *keptStore) path(mid mail.MID, ext string) string {
	return filepath.Join(s.dir, mid.String()+ext)
}

// undelivered keeps a message for the administrator: a 250 was said, and the
// sender cannot be told. It is durable when it returns nil; an error keeps the
// recipients in the queue. It may be called again for the same message: other
// recipients are added to what is there.
func (g *Gateway) undelivered(ctx context.Context, it *queue.Item, failed []queue.Event, why keepReason) error {
	s := &g.kept
	s.busy.Lock()
	defer s.busy.Unlock()
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return errs.Wrap(errs.Temporary, err, "keeping MID %s", it.MID)
	}
	if err := g.keepContent(ctx, s.path(it.MID, ".eml"), it); err != nil {
		return errs.Context(err, "keeping MID %s", it.MID)
	}
	k, err := s.load(it.MID)
	if err != nil {
		k = &keptMail{Version: 1, MID: it.MID, Key: it.Key, At: g.Now(), From: it.From, Params: it.Params, Origin: it.Origin, Accepted: it.Accepted, Subject: it.Subject, MessageID: it.MessageID}
	}
	k.Why, k.Undecided = why.why, why.undecided
	for _, e := range failed {
		r := &e.Recipient
		k.Recipients = append(k.Recipients, keptRecipient{
			RcptParams: r.RcptParams, Address: r.Address, Code: r.Code, Status: r.Status, Reply: r.Reply, Remote: r.Remote, Last: r.Last, Expired: e.Expired,
		})
	}
	if err := s.save(k); err != nil {
		return errs.Wrap(errs.Temporary, err, "keeping MID %s", it.MID)
	}
	if why.undecided {
		s.mu.Lock()
		s.undecided[it.MID] = true
		s.mu.Unlock()
	}
	g.Alert(appliance.AlertDelivery, "MID "+it.MID.String()+" could not be delivered and nobody was told, since "+why.why+"; it is kept in undelivered/"+it.MID.String()+".eml")
	return nil
}

// keepContent writes the message, unless an earlier call did.
func (g *Gateway) keepContent(ctx context.Context, path string, it *queue.Item) error {
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	content, err := g.spool.Open(ctx, it.MID)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return errs.Wrap(errs.Temporary, errors.Join(err, content.Close()), "writing")
	}
	_, err = io.Copy(f, io.MultiReader(bytes.NewReader(it.Prepend), content))
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close(), content.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = config.SyncDir(filepath.Dir(path))
	}
	return errs.Context(err, "writing")
}

// save writes the record, durably, and the text for people.
func (s *keptStore) save(k *keptMail) error {
	b, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return errs.Wrap(errs.Internal, err, "writing the record")
	}
	if err := config.WriteFile(s.path(k.MID, ".txt"), k.text(), 0o600); err != nil {
		return err
	}
	return config.WriteFile(s.path(k.MID, ".json"), b, 0o600)
}

// text says who did not get the message, and why; remote text is escaped.
func (k *keptMail) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: %s\n", logs.Escape(k.From.Path()))
	for _, r := range k.Recipients {
		fmt.Fprintf(&b, "To: %s\n  %s\n", logs.Escape(r.Address.Path()), logs.Escape(r.Reply))
	}
	fmt.Fprintf(&b, "Nobody was told, since %s.\n", logs.Escape(k.Why))
	return b.Bytes()
}

// load reads the record of one message. What an earlier version kept has only
// the text for people.
func (s *keptStore) load(mid mail.MID) (*keptMail, error) {
	b, err := os.ReadFile(s.path(mid, ".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return s.loadOld(mid)
	}
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "reading MID %s", mid)
	}
	k := &keptMail{}
	if err := json.Unmarshal(b, k); err != nil || k.Version != 1 || k.MID != mid {
		return nil, errs.New(errs.Damaged, "the record of MID %s in undelivered/ cannot be read", mid)
	}
	return k, nil
}

func (s *keptStore) loadOld(mid mail.MID) (*keptMail, error) {
	info, err := os.Stat(s.path(mid, ".txt"))
	if err != nil {
		return nil, errs.New(errs.NotFound, "no message %s is in undelivered/", mid)
	}
	b, err := os.ReadFile(s.path(mid, ".txt"))
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "reading MID %s", mid)
	}
	k := &keptMail{Version: 1, MID: mid, At: info.ModTime(), Why: "senders were not told yet by the version that kept it"}
	for _, line := range strings.Split(string(b), "\n") {
		path, to := strings.CutPrefix(line, "To: ")
		if from, is := strings.CutPrefix(line, "From: "); is {
			k.From, err = mail.ParseAddress(strings.Trim(from, "<>"))
		} else if to {
			var a mail.Address
			a, err = mail.ParseAddress(strings.Trim(path, "<>"))
			k.Recipients = append(k.Recipients, keptRecipient{Address: a})
		} else if reply, is := strings.CutPrefix(line, "  "); is && len(k.Recipients) > 0 {
			k.Recipients[len(k.Recipients)-1].Reply = reply
		}
		if err != nil {
			return nil, errs.Wrap(errs.Damaged, err, "the text of MID %s in undelivered/", mid)
		}
	}
	return k, nil
}

// open gives the content.
func (s *keptStore) open(mid mail.MID) (io.ReadCloser, error) {
	f, err := os.Open(s.path(mid, ".eml"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errs.New(errs.NotFound, "no message %s is in undelivered/", mid)
	}
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "reading MID %s", mid)
	}
	return f, nil
}

// remove removes a message for good, the record first: a rest without one is
// listed and can be removed again.
func (s *keptStore) remove(mid mail.MID) error {
	found := false
	for _, ext := range []string{".json", ".txt", ".eml"} {
		switch err := os.Remove(s.path(mid, ext)); {
		case err == nil:
			found = true
		case !errors.Is(err, fs.ErrNotExist):
			return errs.Wrap(errs.Internal, err, "removing MID %s", mid)
		}
	}
	s.decided(mid)
	if !found {
		return errs.New(errs.NotFound, "no message %s is in undelivered/", mid)
	}
	return errs.Wrap(errs.Internal, config.SyncDir(s.dir), "removing MID %s", mid)
}

func (s *keptStore) decided(mid mail.MID) {
	s.mu.Lock()
	delete(s.undecided, mid)
	s.mu.Unlock()
}

// waiting gives the undecided ones, oldest first.
func (s *keptStore) waiting() (all []mail.MID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for mid := range s.undecided {
		all = append(all, mid)
	}
	slices.Sort(all)
	return all
}

// all gives the numbers of what is kept, oldest first.
func (s *keptStore) all() ([]mail.MID, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "reading undelivered/")
	}
	var all []mail.MID
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".eml"); ok {
			if mid, err := mail.ParseMID(name); err == nil {
				all = append(all, mid)
			}
		}
	}
	slices.Sort(all)
	return all, nil
}

// openKept makes the store and finds what is undecided.
func (g *Gateway) openKept(Options) error {
	g.kept.dir, g.kept.undecided = g.Path("undelivered"), make(map[mail.MID]bool)
	all, err := g.kept.all()
	for _, mid := range all {
		if k, err := g.kept.load(mid); err == nil && k.Undecided {
			g.kept.undecided[mid] = true
		}
	}
	return err
}
