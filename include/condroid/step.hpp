// Step: the places in a launch that an Error can name. One flat list, so that a message, a plan
// line, a timeline entry and the table of hints all say the same word.
#pragma once

#include <cstdint>
#include <string_view>

namespace condroid {
inline namespace v0 {

/// Where something happened. to_string gives the words: Step::attach_mount is "attach mount".
enum class Step : std::uint8_t {
  none,
  // The host.
  open_runtime,
  start_zygote,
  start_scope,
  probe_host,
  parse,
  compile,
  open_descriptor,
  create_cgroup,
  write_cgroup,
  filter_devices,
  remove_cgroup,
  clone,
  sync,
  write_id_map,
  run_helper,
  open_rootfs,
  pin_rootfs,
  create_interface,
  create_bridge,
  lease_address,
  publish_port,
  callback,
  wait,
  kill,
  signal,
  freeze,
  measure,
  watch,
  read_output,
  detach,
  sweep,
  find_container,
  // The container's own process, roughly in the order of a launch.
  read_program,
  arm_death_signal,
  enter_cgroup,
  unshare,
  join_namespace,
  set_time_offsets,
  become_root,
  contain_propagation,
  open_proc,
  open_source,
  mount_root,
  mount,
  attach_mount,
  set_mount_attributes,
  resolve_target,
  make_directory,
  make_node,
  make_link,
  make_file,
  mask_path,
  protect_path,
  open_console,
  open_tty,
  pivot_root,
  set_hostname,
  set_domainname,
  raise_loopback,
  configure_interface,
  await_interface,
  write_setting,
  set_rlimit,
  set_oom_score,
  set_scheduling,
  set_personality,
  set_umask,
  join_keyring,
  new_session,
  set_stdio,
  pass_descriptor,
  change_directory,
  drop_capabilities,
  set_groups,
  set_ids,
  set_no_new_privs,
  apply_landlock,
  load_profile,
  set_label,
  load_seccomp,
  check_state,
  start_init,
  park,
  remove_entry,
  open_sockets,
  move_interface,
  return_interface,
  resize_terminal,
  answer_syscall,
  relay_port,
  exec,
  count_,  ///< Not a step: how many there are.
};

/// The step in words, lower case: "attach mount". Never empty for a step of the list.
[[nodiscard]] std::string_view to_string(Step step) noexcept;

}  // namespace v0
}  // namespace condroid
