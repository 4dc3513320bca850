package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/logs"
	"lazaret/internal/queue"
)

// undelivered keeps mail that failed for good. There are no bounce messages
// yet, and nobody would hear of it otherwise: a 250 was said, so the mail stays
// until an administrator has looked (promise P3). DIR/undelivered/MID.eml is
// the message as it would have been delivered, MID.txt says for whom and why.
//
// It is durable when it returns nil; an error keeps the recipients in the
// queue. It may be called again for the same message: other recipients are
// added to what is there.
func (g *Gateway) undelivered(ctx context.Context, it *queue.Item, failed []queue.Recipient) error {
	dir := g.Path("undelivered")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return errs.Wrap(errs.Temporary, err, "keeping MID %s", it.MID)
	}
	base := filepath.Join(dir, it.MID.String())
	if err := g.keepContent(ctx, base+".eml", it); err != nil {
		return errs.Context(err, "keeping MID %s", it.MID)
	}
	if err := appendSynced(base+".txt", report(it, failed)); err != nil {
		return errs.Wrap(errs.Temporary, err, "keeping MID %s", it.MID)
	}
	g.Log.Warning("MID " + it.MID.String() + " could not be delivered; it is kept in undelivered/" + it.MID.String() + ".eml")
	return nil
}

// notify keeps what failed for good.
func (g *Gateway) notify(ctx context.Context, it *queue.Item, events []queue.Event) (queue.Notice, error) {
	var failed []queue.Recipient
	for _, e := range events {
		if e.Kind == queue.Failed {
			failed = append(failed, e.Recipient)
		}
	}
	if len(failed) == 0 {
		return queue.Notice{}, nil
	}
	return queue.Notice{}, g.undelivered(ctx, it, failed)
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

// report says who did not get the message, and why; remote text is escaped.
func report(it *queue.Item, failed []queue.Recipient) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: %s\n", logs.Escape(it.From.Path()))
	for _, r := range failed {
		fmt.Fprintf(&b, "To: %s\n  %s\n", logs.Escape(r.Address.Path()), logs.Escape(r.Reply))
	}
	return b.Bytes()
}

func appendSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return config.SyncDir(filepath.Dir(path))
}
