use countersign::{ContentDigest, Policy, Signer};
use ed25519_dalek::Signer as _;
use sha2::{Digest as _, Sha256};

use crate::{
    aws,
    figure::{Figure, Target},
    hostile, httpsig,
    order::{CONTENT, Order, SEED, ed25519, hmac, one_of_many, seed_of_many},
    ratio::Ratio,
};

/// How many keys are used in turn.
const MANY: u32 = 10_000;

fn figure(name: impl Into<String>, ratio: Ratio, target: Option<Target>) -> Figure {
    let Ratio { median, first, second } = ratio;
    let times = format!("{:.2} µs by {:.2} µs", micros(first), micros(second));
    Figure::new(name, median, "ratio", target).detail(times)
}

fn micros(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// All figures. Each operation is on the same order: six covered components, a base of some 468 bytes.
pub(crate) fn figures(rounds: usize) -> Vec<Figure> {
    let mut figures = Vec::new();
    verifying(rounds, &mut figures);
    verifying_prepared(rounds, &mut figures);
    verifying_many(rounds, &mut figures);
    signing(rounds, &mut figures);
    digesting(rounds, &mut figures);
    refusing(rounds, &mut figures);
    figures
}

fn verifying(rounds: usize, figures: &mut Vec<Figure>) {
    let policy = Policy::default();
    let order = Order::signed(ed25519());
    let key = ed25519().verifying_key();
    let bare_key = ed25519_dalek::SigningKey::from_bytes(&SEED);
    let (bare_key, base) = (bare_key.verifying_key(), base(&order));
    let signature = ed25519_dalek::SigningKey::from_bytes(&SEED).sign(&base);
    let ours = || order.verify(&policy, &key).unwrap();
    let strict = || bare_key.verify_strict(&base, &signature).unwrap();
    let lax = || ed25519_dalek::Verifier::verify(&bare_key, &base, &signature).unwrap();
    let mut push = |name, ratio, target| figures.push(figure(name, ratio, target));
    let ratio = Ratio::measure(rounds, ours, strict);
    push("verify-ed25519/verify_strict", ratio, Some(Target::AtMost(0.85)));
    push("verify-ed25519/verify", Ratio::measure(rounds, ours, lax), None);

    let secret = httpsig::ed25519();
    let mut theirs = httpsig::request(&order);
    httpsig::sign(&mut theirs, &httpsig::params(&secret), &secret);
    let public = secret.public_key();
    let ratio = Ratio::measure(rounds, ours, || httpsig::verify(&theirs, &public));
    push("verify-ed25519/httpsig-hyper", ratio, Some(Target::AtMost(0.40)));

    let order = Order::signed(hmac());
    let key = hmac().verifying_key();
    let ours = || order.verify(&policy, &key).unwrap();
    let shared = httpsig::hmac();
    let mut theirs = httpsig::request(&order);
    httpsig::sign(&mut theirs, &httpsig::params(&shared), &shared);
    let ratio = Ratio::measure(rounds, ours, || httpsig::verify(&theirs, &shared));
    push("verify-hmac/httpsig-hyper", ratio, Some(Target::AtMost(0.15)));
    let bare = || key.verify(&base, &[0; 32]).is_err();
    push("verify-hmac/bare", Ratio::measure(rounds, ours, bare), None);
}

/// With a key that is prepared, as a server has those that are used often.
fn verifying_prepared(rounds: usize, figures: &mut Vec<Figure>) {
    let policy = Policy::default();
    let order = Order::signed(ed25519());
    let plain = ed25519().verifying_key();
    let key = plain.prepared();
    let signing = ed25519_dalek::SigningKey::from_bytes(&SEED);
    let (bare_key, base) = (signing.verifying_key(), base(&order));
    let signature = signing.sign(&base);
    let ours = || order.verify(&policy, &key).unwrap();
    let strict = || bare_key.verify_strict(&base, &signature).unwrap();
    let mut push = |name, ratio, target| figures.push(figure(name, ratio, target));
    let ratio = Ratio::measure(rounds, ours, strict);
    push("verify-ed25519-prepared/verify_strict", ratio, Some(Target::AtMost(0.60)));

    let secret = httpsig::ed25519();
    let mut theirs = httpsig::request(&order);
    httpsig::sign(&mut theirs, &httpsig::params(&secret), &secret);
    let public = secret.public_key();
    let ratio = Ratio::measure(rounds, ours, || httpsig::verify(&theirs, &public));
    push("verify-ed25519-prepared/httpsig-hyper", ratio, Some(Target::AtMost(0.35)));

    let (public, signature) = (bare_key.to_bytes(), signature.to_bytes());
    let aws = aws_lc_rs::signature::ParsedPublicKey::new(&aws_lc_rs::signature::ED25519, public);
    let aws = aws.unwrap();
    let theirs = || aws.verify_sig(&base, &signature).unwrap();
    push("verify-ed25519-prepared/aws-lc-rs", Ratio::measure(rounds, ours, theirs), None);
    let ring = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public);
    let theirs = || ring.verify(&base, &signature).unwrap();
    push("verify-ed25519-prepared/ring", Ratio::measure(rounds, ours, theirs), None);
    push("prepare/verify_strict", Ratio::measure(rounds, || plain.prepared(), strict), None);
}

/// Ten thousand prepared keys in turn, whose tables fit into no cache.
fn verifying_many(rounds: usize, figures: &mut Vec<Figure>) {
    let policy = Policy::default();
    let many: Vec<_> = (0..MANY)
        .map(|number| {
            let order = Order::signed(one_of_many(number));
            let key = one_of_many(number).verifying_key().prepared();
            let signing = ed25519_dalek::SigningKey::from_bytes(&seed_of_many(number));
            let base = base(&order);
            let signature = signing.sign(&base);
            (order, key, signing.verifying_key(), base, signature)
        })
        .collect();
    let (mut one, mut other) = (many.iter().cycle(), many.iter().cycle());
    let ours = || {
        let (order, key, ..) = one.next().unwrap();
        order.verify(&policy, key).unwrap()
    };
    let strict = || {
        let (.., bare, base, signature) = other.next().unwrap();
        bare.verify_strict(base, signature).unwrap();
    };
    let ratio = Ratio::measure(rounds, ours, strict);
    let name = "verify-ed25519-prepared/verify_strict, 10,000 keys";
    figures.push(figure(name, ratio, Some(Target::AtMost(0.70))));
}

fn signing(rounds: usize, figures: &mut Vec<Figure>) {
    let order = Order::unsigned();
    let signer = Signer::new(ed25519());
    let bare_key = ed25519_dalek::SigningKey::from_bytes(&SEED);
    let base = base(&Order::signed(ed25519()));
    let bare = || bare_key.sign(&base);
    let ours = || order.sign(&signer, CONTENT);
    let mut digested = order.clone();
    let digest = ContentDigest::sha256(CONTENT);
    digested.headers.insert(countersign::CONTENT_DIGEST, digest.to_header().unwrap());
    let mut push = |name, ratio, target| figures.push(figure(name, ratio, target));
    push("sign-ed25519/bare", Ratio::measure(rounds, ours, bare), Some(Target::AtMost(1.06)));

    let ours = || {
        let mut headers = order.headers.clone();
        order.sign(&signer, CONTENT).apply(&mut headers);
        headers
    };
    let secret = httpsig::ed25519();
    let unsigned = httpsig::request(&digested);
    let theirs = || {
        let mut request = unsigned.clone();
        httpsig::sign(&mut request, &httpsig::params(&secret), &secret);
        request
    };
    push("sign-ed25519/httpsig-hyper", Ratio::measure(rounds, ours, theirs), None);

    let signer = Signer::new(hmac());
    let ours = || {
        let mut headers = order.headers.clone();
        order.sign(&signer, CONTENT).apply(&mut headers);
        headers
    };
    let identity = aws::identity();
    let theirs = || aws::sign(&order, &identity);
    push("sign-hmac/aws-sigv4", Ratio::measure(rounds, ours, theirs), None);
}

fn digesting(rounds: usize, figures: &mut Vec<Figure>) {
    let piece = vec![7u8; 64 * 1024];
    let pieces = 16;
    let digest = ContentDigest::sha256(&piece.repeat(pieces));
    let ours = || {
        let mut check = digest.check();
        (0..pieces).for_each(|_| check.update(&piece));
        check.finish().unwrap();
    };
    let bare = || {
        let mut hash = Sha256::new();
        (0..pieces).for_each(|_| hash.update(&piece));
        hash.finalize()
    };
    // Throughputs are to each other as times are the other way round.
    let ratio = Ratio::measure(rounds, bare, ours);
    figures.push(figure("digest-stream/sha256", ratio, Some(Target::AtLeast(0.95))));
}

fn refusing(rounds: usize, figures: &mut Vec<Figure>) {
    let key = ed25519().verifying_key();
    let prepared = key.prepared();
    let (mut worst, mut worst_prepared): (Option<Figure>, Option<Figure>) = (None, None);
    let by_default = hostile::requests().into_iter();
    let by_default = by_default.map(|(what, hostile)| (what, hostile, Policy::default()));
    let of_members = hostile::of_members().into_iter();
    let of_members = of_members.map(|(what, hostile)| (what, hostile, hostile::reading_members()));
    for (what, hostile, policy) in by_default.chain(of_members) {
        // Beside an honest request of as many bytes, since whatever is larger takes longer to hash.
        let honest = Order::as_large_as(&hostile);
        let measured = |key| {
            let refused = || hostile.verify(&policy, key).map(drop);
            let verified = || honest.verify(&policy, key).unwrap();
            Ratio::measure(rounds / 4 + 1, refused, verified)
        };
        let ratio = measured(&key);
        keep_worst(&mut worst, "refuse-worst/verify", ratio, Some(Target::AtMost(1.5)));
        figures.push(figure(format!("refuse: {what}/verify"), ratio, None));
        keep_worst(&mut worst_prepared, "refuse-worst/verify-prepared", measured(&prepared), None);
    }
    figures.extend(worst);
    figures.extend(worst_prepared);
}

fn keep_worst(worst: &mut Option<Figure>, name: &str, ratio: Ratio, target: Option<Target>) {
    if worst.as_ref().is_none_or(|worst| ratio.median > worst.value()) {
        *worst = Some(figure(name, ratio, target));
    }
}

fn base(order: &Order) -> Vec<u8> {
    let candidate = countersign::Candidate::select(&order.head().into(), None).unwrap();
    candidate.signature_base().as_bytes().to_vec()
}
