//! Keys of holders survive restarts, copies, crashes and full disks; a key that was
//! destroyed survives none of them.

use std::io::Write as _;

use super::*;
use crate::crypto::{copy_holder_keys, erase_salts};
use crate::{crypto::SoftVault, model::SystemRng};

const ANN: Subject = Subject::from_bytes([1; 16]);
const BO: Subject = Subject::from_bytes([2; 16]);
const CY: Subject = Subject::from_bytes([3; 16]);
const NONCE: [u8; 12] = [3; 12];

fn open(folder: &Path) -> HolderKeys {
    let vault = SoftVault::empty().with_key(KeyName::Seal, &[4; 16]).expect("16 bytes");
    HolderKeys::open(folder, Arc::new(vault), Arc::new(SystemRng)).expect("opens")
}

#[test]
fn what_is_sealed_opens_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = open(folder.path());
    let sealed = keys.seal(ANN, &NONCE, b"entry 1", b"Ann's detail").expect("seals");
    keys.make_durable().expect("syncs");
    assert_eq!(keys.open(ANN, &NONCE, b"entry 1", &sealed), Ok(Some(b"Ann's detail".to_vec())));
    drop(keys);
    let keys = open(folder.path());
    assert_eq!(keys.open(ANN, &NONCE, b"entry 1", &sealed), Ok(Some(b"Ann's detail".to_vec())));
    assert_eq!(keys.seal(ANN, &NONCE, b"entry 1", b"Ann's detail"), Ok(sealed));
}

#[test]
fn a_destroyed_key_stays_destroyed() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = open(folder.path());
    let ann = keys.seal(ANN, &NONCE, b"", b"Ann").expect("seals");
    let bo = keys.seal(BO, &NONCE, b"", b"Bo").expect("seals");
    keys.destroy(ANN).expect("destroys");
    let check = |keys: &HolderKeys| {
        assert_eq!(keys.open(ANN, &NONCE, b"", &ann), Ok(None));
        assert!(matches!(keys.seal(ANN, &NONCE, b"", b"Ann"), Err(SealError::Destroyed)));
        assert!(keys.is_destroyed(ANN).expect("read") && !keys.is_destroyed(BO).expect("read"));
        assert_eq!(keys.open(BO, &NONCE, b"", &bo), Ok(Some(b"Bo".to_vec())));
    };
    check(&keys);
    drop(keys);
    check(&open(folder.path()));
}

/// How many files under `folder` hold `bytes`.
fn files_with(folder: &Path, bytes: &[u8]) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .map(|path| match path.is_dir() {
            true => files_with(&path, bytes),
            false => {
                let content = std::fs::read(&path).expect("readable");
                usize::from(content.windows(bytes.len()).any(|window| window == bytes))
            }
        })
        .sum()
}

#[test]
fn a_destroyed_salt_is_in_no_file() {
    struct Recognisable;
    impl Rng for Recognisable {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.copy_from_slice(&b"recognisable salt"[..bytes.len()]);
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let vault = SoftVault::empty().with_key(KeyName::Seal, &[4; 16]).expect("16 bytes");
    let keys = HolderKeys::open(folder.path(), Arc::new(vault), Arc::new(Recognisable)).expect("opens");
    keys.seal(ANN, &NONCE, b"", b"Ann").expect("seals");
    keys.make_durable().expect("syncs");
    assert_ne!(files_with(folder.path(), b"recognisable sal"), 0);
    keys.destroy(ANN).expect("destroys");
    drop(keys);
    assert_eq!(files_with(folder.path(), b"recognisable sal"), 0);
}

#[test]
fn a_copy_opens_what_was_sealed_and_brings_nobody_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (live, copy) = (folder.path().join("live"), folder.path().join("copy"));
    let keys = open(&live);
    let ann = keys.seal(ANN, &NONCE, b"", b"Ann").expect("seals");
    let bo = keys.seal(BO, &NONCE, b"", b"Bo").expect("seals");
    keys.make_durable().expect("syncs");
    let copied = copy_holder_keys(&live, &copy).expect("copied while it is open");
    assert_eq!((copied.slots, copied.erased), (2, 0));
    // Erased after the copy was made: the next copy has her no more.
    keys.destroy(ANN).expect("destroys");
    let later = folder.path().join("later");
    copy_holder_keys(&live, &later).expect("copied");
    let check = |folder: &Path| {
        let keys = open(folder);
        assert_eq!(keys.open(ANN, &NONCE, b"", &ann), Ok(None));
        assert!(keys.seal(ANN, &NONCE, b"", b"Ann").is_err(), "nothing more is sealed");
        assert_eq!(keys.open(BO, &NONCE, b"", &bo), Ok(Some(b"Bo".to_vec())));
    };
    // The older copy is held against the newer list before it is put back.
    let list = read_erased(&live.join(ERASED)).expect("read");
    assert_eq!(list.len(), 1);
    write_erased(&copy.join(ERASED), &list).expect("written");
    erase_salts(&copy, &list).expect("erased");
    check(&later);
    check(&copy);
    drop(keys);
    check(&live);
}

#[test]
fn another_subject_s_key_and_altered_parts_do_not_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = open(folder.path());
    let sealed = keys.seal(ANN, &NONCE, b"bound", b"plain").expect("seals");
    keys.seal(BO, &NONCE, b"", b"").expect("seals");
    assert_eq!(keys.open(BO, &NONCE, b"bound", &sealed), Err(SealError::Altered));
    assert_eq!(keys.open(ANN, &NONCE, b"other", &sealed), Err(SealError::Altered));
    assert_eq!(keys.open(ANN, &[0; 12], b"bound", &sealed), Err(SealError::Altered));
    assert_eq!(keys.open(ANN, &NONCE, b"bound", &sealed[1..]), Err(SealError::Altered));
    let stranger = keys.open(Subject::from_bytes([9; 16]), &NONCE, b"", &sealed);
    assert!(matches!(stranger, Err(SealError::Keys(_))), "opening makes no key");
}

#[test]
fn make_durable_syncs_only_when_there_is_a_new_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = open(folder.path());
    let state = || (keys.made.load(Ordering::SeqCst), keys.durable.load(Ordering::SeqCst));
    keys.make_durable().expect("nothing to do");
    assert_eq!(state(), (0, 0));
    keys.seal(ANN, &NONCE, b"", b"").expect("seals");
    keys.seal(BO, &NONCE, b"", b"").expect("seals");
    assert_eq!(state(), (2, 0));
    keys.make_durable().expect("syncs");
    assert_eq!(state(), (2, 2));
    keys.seal(ANN, &[5; 12], b"", b"").expect("seals");
    assert_eq!(state(), (2, 2));
}

#[test]
fn a_slot_that_a_crash_lost_is_made_anew_and_shared_with_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = open(folder.path());
    let ann = keys.seal(ANN, &NONCE, b"", b"Ann").expect("seals");
    keys.seal(BO, &NONCE, b"", b"Bo").expect("seals");
    drop(keys);
    let salts = OpenOptions::new().write(true).open(folder.path().join("salts")).expect("is there");
    salts.set_len(SLOT as u64).expect("truncates");
    let keys = open(folder.path());
    let third = Subject::from_bytes([7; 16]);
    let other = keys.seal(third, &NONCE, b"", b"third").expect("takes Bo's slot");
    let bo = keys.seal(BO, &NONCE, b"", b"Bo").expect("seals anew");
    keys.destroy(BO).expect("destroys");
    assert_eq!(keys.open(BO, &NONCE, b"", &bo), Ok(None));
    drop(keys);
    let keys = open(folder.path());
    assert_eq!(keys.open(third, &NONCE, b"", &other), Ok(Some(b"third".to_vec())));
    assert_eq!(keys.open(ANN, &NONCE, b"", &ann), Ok(Some(b"Ann".to_vec())));
}

#[test]
fn after_a_failed_sync_nothing_is_called_durable() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = open(folder.path());
    keys.seal(ANN, &NONCE, b"", b"").expect("seals");
    assert!(keys.synced(Err::<(), _>("the disk failed")).is_err());
    assert!(keys.make_durable().is_err());
    assert!(keys.make_durable().is_err(), "not the second time either");
    assert!(keys.seal(BO, &NONCE, b"", b"").is_err(), "no new key is made");
    drop(keys);
    open(folder.path()).seal(BO, &NONCE, b"", b"").expect("seals after it was opened again");
}

#[test]
fn many_threads_meet_one_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = open(folder.path());
    let sealed: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| keys.seal(ANN, &NONCE, b"", b"same").expect("seals"))).collect();
        threads.into_iter().map(|thread| thread.join().expect("does not panic")).collect()
    });
    assert!(sealed.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn an_index_that_was_half_built_is_built_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let (live, copy) = (folder.path().join("live"), folder.path().join("copy"));
    let keys = open(&live);
    let ann = keys.seal(ANN, &NONCE, b"", b"Ann").expect("seals");
    let bo = keys.seal(BO, &NONCE, b"", b"Bo").expect("seals");
    keys.seal(CY, &NONCE, b"", b"Cy").expect("seals");
    keys.destroy(CY).expect("destroys");
    keys.make_durable().expect("syncs");
    copy_holder_keys(&live, &copy).expect("copied");
    // The first start of the copy was killed when it had come to the first slot.
    let database = Database::builder(copy.join("index")).open().expect("opens");
    let slots = database.keyspace("slots", KeyspaceCreateOptions::default).expect("opens");
    slots.insert(ANN.as_bytes(), 0_u64.to_be_bytes()).expect("written");
    database.persist(PersistMode::SyncAll).expect("synced");
    drop((slots, database));
    for start in ["the next start", "the one after"] {
        let keys = open(&copy);
        assert_eq!(keys.open(ANN, &NONCE, b"", &ann), Ok(Some(b"Ann".to_vec())), "{start}");
        assert_eq!(keys.open(BO, &NONCE, b"", &bo), Ok(Some(b"Bo".to_vec())), "{start}");
        assert!(keys.seal(CY, &NONCE, b"", b"Cy").is_err(), "{start}: erased");
    }
}

#[test]
fn a_half_written_name_does_not_hide_who_is_erased_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join(ERASED);
    let half = || {
        // What a full disk leaves of a name.
        let mut file = OpenOptions::new().append(true).open(&list).expect("is there");
        file.write_all(&[1; 5]).expect("written");
    };
    let keys = open(folder.path());
    keys.destroy(CY).expect("destroys");
    half();
    keys.destroy(BO).expect("destroys");
    assert_eq!(read_erased(&list).expect("read"), HashSet::from([BO, CY]));
    half();
    drop(keys);
    open(folder.path()).destroy(ANN).expect("destroys");
    assert_eq!(read_erased(&list).expect("read"), HashSet::from([ANN, BO, CY]));
    assert_eq!(std::fs::metadata(&list).expect("there").len(), 3 * 16);
}

#[test]
fn a_store_put_back_from_before_an_erasure_is_held_against_the_list_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (live, copy, list) =
        (folder.path().join("live"), folder.path().join("copy"), folder.path().join("head.erased"));
    let keys = open(&live);
    let ann = keys.seal(ANN, &NONCE, b"", b"Ann").expect("seals");
    let bo = keys.seal(BO, &NONCE, b"", b"Bo").expect("seals");
    keys.seal(CY, &NONCE, b"", b"Cy").expect("seals");
    keys.make_durable().expect("syncs");
    copy_holder_keys(&live, &copy).expect("copied");
    keys.destroy(CY).expect("destroys");
    let keys = keys.keeping_list(&list).expect("keeps");
    assert_eq!(read_erased(&list).expect("read"), HashSet::from([CY]), "erased before the list was kept");
    keys.destroy(ANN).expect("destroys");
    drop(keys);

    let keys = open(&copy);
    assert_eq!(keys.open(ANN, &NONCE, b"", &ann), Ok(Some(b"Ann".to_vec())), "the copy has the key");
    let keys = keys.keeping_list(&list).expect("keeps");
    assert_eq!(keys.open(ANN, &NONCE, b"", &ann), Ok(None));
    assert_eq!(keys.seal(CY, &NONCE, b"", b"Cy"), Err(SealError::Destroyed));
    assert_eq!(keys.open(BO, &NONCE, b"", &bo), Ok(Some(b"Bo".to_vec())));
    assert_eq!(read_erased(&copy.join(ERASED)).expect("read"), HashSet::from([ANN, CY]), "its own list, too");
}
