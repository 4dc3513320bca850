package appliance

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// use is an address that a part of the appliance listens at or sends from.
type use struct {
	place string // the element, as config names it in its errors
	iface string
	at    netip.AddrPort // port 0: not listened at
}

// uses gives the addresses that a checked configuration needs.
func uses(c *config.Config) []use {
	var all []use
	add := func(place, iface string, port int) {
		if at, err := address(c, iface, port); err == nil { // else config has refused it, or the interface is Auto
			all = append(all, use{place, iface, at})
		}
	}
	add("config/ssh/port", c.SSH.Interface, c.SSH.Port)
	for _, l := range c.Listeners {
		add("config/listeners/listener/port", l.Interface, l.Port)
	}
	add("", c.Delivery.Interface, 0)
	return all
}

// checkAddresses refuses an address that this machine does not have, at the
// start and by checkconfig; the ports are opened, or not, by Start itself.
func (a *Appliance) checkAddresses(c *config.Config) error {
	for _, u := range uses(c) {
		u.at = netip.AddrPortFrom(u.at.Addr(), 0)
		if err := u.check(); err != nil {
			return errs.Context(err, "%s", a.Path(ConfigName))
		}
	}
	return nil
}

// checkMoves refuses, at a commit, an address or a port that cannot be had:
// after the commit only the log could say so. What is in use already is not
// looked at: an address that went away must not stop an unrelated change, and
// our own port is not free.
func checkMoves(from, to *config.Config) error {
	old := uses(from)
	for _, u := range uses(to) {
		if slices.ContainsFunc(old, func(o use) bool { return o.at == u.at }) {
			continue
		}
		if slices.ContainsFunc(old, u.overlaps) { // ours, and closed before the new one is opened
			u.at = netip.AddrPortFrom(u.at.Addr(), 0)
		}
		if err := u.check(); err != nil {
			return err
		}
	}
	return nil
}

func (u use) overlaps(o use) bool {
	a, b := u.at.Addr(), o.at.Addr()
	return u.at.Port() == o.at.Port() && (a == b || a.IsUnspecified() || b.IsUnspecified())
}

// check asks the kernel, which alone knows: addresses come also from routes
// and from settings such as ip_nonlocal_bind.
func (u use) check() error {
	switch err := bind(u.at); {
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.EAFNOSUPPORT):
		return errs.New(errs.Invalid, "config/interfaces/interface: %s is not an address of this machine (interface %s)", u.at.Addr(), strconv.Quote(u.iface))
	case errors.Is(err, unix.EADDRINUSE):
		return errs.New(errs.Conflict, "%s: %s is in use by another program", u.place, u.at)
	case errors.Is(err, unix.EACCES):
		return errs.New(errs.Denied, "%s: this process may not open port %d", u.place, u.at.Port())
	}
	return nil // anything else will be said when the port is opened
}

// bind takes the address and gives it back. Nothing can connect meanwhile: a
// socket that was not told to listen refuses.
func bind(at netip.AddrPort) (err error) {
	family, sa := unix.AF_INET, unix.Sockaddr(nil)
	if ip := at.Addr().Unmap(); ip.Is4() {
		sa = &unix.SockaddrInet4{Port: int(at.Port()), Addr: ip.As4()}
	} else {
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: int(at.Port()), Addr: ip.As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	// As net does for its listeners: a port with connections in TIME_WAIT is free.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("setsockopt: %w", err)
	}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return fmt.Errorf("setsockopt: %w", err)
		}
	}
	return unix.Bind(fd, sa)
}
