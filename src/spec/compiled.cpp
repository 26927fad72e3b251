// What spec.hpp says is compiled here, with CONDROID_COMPILED_LISTS.
#include <vector>

#include "condroid/spec.hpp"

template class std::vector<condroid::ArgumentCheck>;
template class std::vector<condroid::CgroupSetting>;
template class std::vector<condroid::DeviceNode>;
template class std::vector<condroid::DevicePermission>;
template class std::vector<condroid::Gid>;
template class std::vector<condroid::GuestPath>;
template class std::vector<condroid::Hook>;
template class std::vector<condroid::HostPath>;
template class std::vector<condroid::HugetlbLimit>;
template class std::vector<condroid::IdRange>;
template class std::vector<condroid::Interface>;
template class std::vector<condroid::IoLimit>;
template class std::vector<condroid::IpAddress>;
template class std::vector<condroid::IpPrefix>;
template class std::vector<condroid::Join>;
template class std::vector<condroid::LandlockRule>;
template class std::vector<condroid::Mount>;
template class std::vector<condroid::PassedFd>;
template class std::vector<condroid::ProcFile>;
template class std::vector<condroid::PublishedPort>;
template class std::vector<condroid::RlimitSetting>;
template class std::vector<condroid::Route>;
template class std::vector<condroid::SyscallRule>;
template class std::vector<condroid::Sysctl>;
