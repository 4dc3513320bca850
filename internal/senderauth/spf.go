package senderauth

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"blitiri.com.ar/go/spf"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Limits of RFC 7208 section 4.6.4.
const (
	maxLookups     = 10
	maxVoidLookups = 2
)

// SPF checks the address that a message came from.
func (v *Verifier) SPF(ctx context.Context, from mail.Origin, sender mail.Address) (out SPF) {
	out = SPF{Verdict: None, Domain: sender.Domain}
	helo := from.Helo
	if sender.IsNull() {
		out.Domain = strings.ToLower(strings.TrimSuffix(helo, "."))
		sender = mail.Address{Local: "postmaster", Domain: out.Domain}
	}
	if _, err := mail.ParseDomain(out.Domain); err != nil || strings.HasPrefix(out.Domain, "[") || !from.RemoteIP.IsValid() {
		out.Reason = "there is no domain to ask"
		return out
	}
	if _, err := mail.ParseDomain(helo); err != nil {
		helo = "unknown" // it is text for macros of the record
	}
	defer func() {
		if p := recover(); p != nil {
			out.Verdict, out.Reason = PermError, fmt.Sprintf("the record cannot be evaluated: %v", p)
		}
	}()
	result, err := spf.CheckHostWithSender(from.RemoteIP.Unmap().AsSlice(), helo, sender.String(), spf.WithContext(ctx),
		spf.WithResolver(forSPF{v.resolver}), spf.OverrideLookupLimit(maxLookups), spf.OverrideVoidLookupLimit(maxVoidLookups))
	out.Verdict = Verdict(result)
	if err != nil {
		out.Reason = err.Error()
	}
	if ctx.Err() != nil && out.Verdict != Pass {
		out.Verdict = TempError
	}
	return out
}

// forSPF answers in the types of the standard library.
type forSPF struct{ r Resolver }

// dnsError says in the standard library's words what kind an error is of.
func dnsError(err error, name string) error {
	if err == nil {
		return nil
	}
	gone := errs.Is(err, errs.NotFound) || errs.Is(err, errs.Invalid)
	return &net.DNSError{Err: err.Error(), Name: name, IsNotFound: gone, IsTemporary: !gone}
}

// LookupTXT implements spf.DNSResolver.
func (f forSPF) LookupTXT(ctx context.Context, name string) ([]string, error) {
	txt, err := f.r.LookupTXT(ctx, strings.TrimSuffix(name, "."))
	return txt, dnsError(err, name)
}

// LookupMX implements spf.DNSResolver.
func (f forSPF) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	set, err := f.r.LookupMX(ctx, strings.TrimSuffix(name, "."))
	out := make([]*net.MX, len(set.Records))
	for i, m := range set.Records {
		out[i] = &net.MX{Host: m.Host, Pref: m.Preference}
	}
	return out, dnsError(err, name)
}

// LookupIPAddr implements spf.DNSResolver.
func (f forSPF) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	addrs, err := f.r.LookupAddr(ctx, strings.TrimSuffix(host, "."))
	out := make([]net.IPAddr, len(addrs))
	for i, a := range addrs {
		out[i] = net.IPAddr{IP: a.Unmap().AsSlice()}
	}
	return out, dnsError(err, host)
}

// LookupAddr implements spf.DNSResolver.
func (f forSPF) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, dnsError(errs.New(errs.Invalid, "no address"), addr)
	}
	names, err := f.r.LookupPTR(ctx, ip)
	return names, dnsError(err, addr)
}
