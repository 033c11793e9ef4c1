"""TypedDicts of the API's answers, generated from the contract by ``tools/generate_types.py``; do not edit.

Every key may be missing, and real answers may carry more keys than these.
"""

# Digest of what it was made from and of all that follows: 564e57687c1443810ab0ba861df3a316ae3afa3ade6265b05c74d21168463dd6

from __future__ import annotations
from typing import Any, NotRequired, TypeAlias, TypedDict


Model: TypeAlias = Any


class AgentData(TypedDict):
    id: NotRequired[str]
    userId: NotRequired[str]
    name: NotRequired[str | None]
    shortName: NotRequired[str | None]
    phoneNumber: NotRequired[str | None]
    email: NotRequired[str | None]
    pictureFileId: NotRequired[str | None]
    pictureUrl: NotRequired[str | None]


class AgentDepartment(TypedDict):
    agentId: NotRequired[str]
    userId: NotRequired[str]
    departmentId: NotRequired[str]
    isAgent: NotRequired[bool]
    isSupervisor: NotRequired[bool]


class ChannelIdentity(TypedDict):
    humanId: NotRequired[str | None]
    platform: NotRequired[str | None]
    provider: NotRequired[str | None]
    providerVariable: NotRequired[str | None]
    pictureUrl: NotRequired[str | None]
    displayName: NotRequired[str | None]


class Chatbot(TypedDict):
    id: NotRequired[str]
    key: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    companyId: NotRequired[str]
    archived: NotRequired[bool]
    name: NotRequired[str | None]
    type: NotRequired[str]
    channelIds: NotRequired[list[str] | None]
    defaultDepartmentId: NotRequired[str | None]
    publishStatus: NotRequired[str | None]
    automationUsage: NotRequired[list[str] | None]


class ChatbotPage(TypedDict):
    pageNumber: NotRequired[int]
    pageSize: NotRequired[int]
    orderBy: NotRequired[str | None]
    orderDirection: NotRequired[str | None]
    items: NotRequired[list[Chatbot] | None]
    totalItems: NotRequired[int]
    totalPages: NotRequired[int]
    hasMorePages: NotRequired[bool]


class ContactData(TypedDict):
    id: NotRequired[str | None]
    name: NotRequired[str | None]
    pictureUrl: NotRequired[str | None]
    phonenumber: NotRequired[str | None]
    instagram: NotRequired[str | None]
    phonenumberFormatted: NotRequired[str | None]
    tagsId: NotRequired[list[str] | None]
    tagsName: NotRequired[list[str] | None]
    status: NotRequired[str]


class CustomFieldOption(TypedDict):
    id: NotRequired[str]
    name: NotRequired[str | None]


class DepartmentAgent(TypedDict):
    userId: NotRequired[str]
    departmentId: NotRequired[str]
    isAgent: NotRequired[bool]
    isSupervisor: NotRequired[bool]


class DepartmentChannel(TypedDict):
    id: NotRequired[str]
    number: NotRequired[str | None]
    name: NotRequired[str | None]
    type: NotRequired[str | None]


class DepartmentData(TypedDict):
    id: NotRequired[str]
    companyId: NotRequired[str]
    name: NotRequired[str | None]
    description: NotRequired[str | None]
    isDefault: NotRequired[bool]
    isSupervisor: NotRequired[bool]


class DepartmentDetailsDistributionConfig(TypedDict):
    expirationIsEnabled: NotRequired[bool]
    maximumDurationInMinutes: NotRequired[int]
    inactivityTimeInMinutes: NotRequired[int]


class DepartmentV2(TypedDict):
    id: NotRequired[str]
    companyId: NotRequired[str]
    createdAt: NotRequired[str]
    directLinks: NotRequired[dict[str, Any] | None]
    updatedAt: NotRequired[str]
    name: NotRequired[str | None]
    isDefault: NotRequired[bool]
    distribuitionEnabled: NotRequired[bool]
    restrictionType: NotRequired[str]
    distributionConfig: NotRequired[DepartmentDetailsDistributionConfig | None]
    agents: NotRequired[list[DepartmentAgent] | None]
    channels: NotRequired[list[DepartmentChannel] | None]


class FileThumbnail(TypedDict):
    id: NotRequired[str]
    publicUrl: NotRequired[str | None]


class FileV2(TypedDict):
    id: NotRequired[str]
    companyId: NotRequired[str | None]
    userId: NotRequired[str | None]
    name: NotRequired[str | None]
    extension: NotRequired[str | None]
    mimeType: NotRequired[str | None]
    type: NotRequired[str]
    key: NotRequired[str | None]
    size: NotRequired[int]


class LostReason(TypedDict):
    id: NotRequired[str | None]
    name: NotRequired[str | None]


class MessageContact(TypedDict):
    name: NotRequired[str | None]
    email: NotRequired[str | None]
    phoneNumber: NotRequired[str | None]
    phoneNumberFormatted: NotRequired[str | None]


class MessageError(TypedDict):
    date: NotRequired[str]
    origin: NotRequired[str | None]
    key: NotRequired[str | None]
    text: NotRequired[str | None]


class MessageLocation(TypedDict):
    latitude: NotRequired[float]
    longitude: NotRequired[float]
    address: NotRequired[str | None]
    name: NotRequired[str | None]
    url: NotRequired[str | None]


class MessageQuickSend(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    sessionId: NotRequired[str | None]
    status: NotRequired[str]
    failureReason: NotRequired[str | None]


class MessageTrackFromData(TypedDict):
    name: NotRequired[str | None]
    email: NotRequired[str | None]
    phoneNumber: NotRequired[str | None]
    annotation: NotRequired[str | None]


class MsgTranscription(TypedDict):
    text: NotRequired[str | None]
    processing: NotRequired[bool]
    error: NotRequired[bool]


class PanelCardContact(TypedDict):
    id: NotRequired[str]
    name: NotRequired[str | None]


class PanelCardResponsibleUser(TypedDict):
    id: NotRequired[str]
    name: NotRequired[str | None]


class PanelCardResult(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    companyId: NotRequired[str]
    panelId: NotRequired[str]
    description: NotRequired[str | None]


class PanelCardResultPage(TypedDict):
    pageNumber: NotRequired[int]
    pageSize: NotRequired[int]
    orderBy: NotRequired[str | None]
    orderDirection: NotRequired[str | None]
    items: NotRequired[list[PanelCardResult] | None]
    totalItems: NotRequired[int]
    totalPages: NotRequired[int]
    hasMorePages: NotRequired[bool]


class PanelCardV2(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    companyId: NotRequired[str]
    panelId: NotRequired[str]
    panelTitle: NotRequired[str | None]
    stepId: NotRequired[str]
    stepTitle: NotRequired[str | None]
    stepPhase: NotRequired[str | None]
    position: NotRequired[float]
    title: NotRequired[str | None]
    description: NotRequired[str | None]
    key: NotRequired[str | None]
    number: NotRequired[int]
    dueDate: NotRequired[str | None]
    isOverdue: NotRequired[bool]
    tagIds: NotRequired[list[str] | None]
    sessionId: NotRequired[str | None]
    monetaryAmount: NotRequired[float | None]
    responsibleUserId: NotRequired[str | None]
    responsibleUser: NotRequired[PanelCardResponsibleUser | None]
    contactIds: NotRequired[list[str] | None]
    contacts: NotRequired[list[PanelCardContact] | None]
    customFields: NotRequired[dict[str, Any] | None]
    metadata: NotRequired[dict[str, Any] | None]
    status: NotRequired[str]
    lostReason: NotRequired[LostReason | None]


class PanelCardV2Page(TypedDict):
    pageNumber: NotRequired[int]
    pageSize: NotRequired[int]
    orderBy: NotRequired[str | None]
    orderDirection: NotRequired[str | None]
    items: NotRequired[list[PanelCardV2] | None]
    totalItems: NotRequired[int]
    totalPages: NotRequired[int]
    hasMorePages: NotRequired[bool]


class PanelStepField(TypedDict):
    key: NotRequired[str | None]
    type: NotRequired[str]
    position: NotRequired[int]
    visible: NotRequired[bool | None]


class PanelTag(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    companyId: NotRequired[str | None]
    panelId: NotRequired[str]
    name: NotRequired[str | None]
    nameColor: NotRequired[str | None]
    bgColor: NotRequired[str | None]


class PortfolioDepartment(TypedDict):
    departmentId: NotRequired[str]
    userIds: NotRequired[list[str] | None]


class QuickMessage(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str | None]
    updatedAt: NotRequired[str]
    sessionId: NotRequired[str | None]
    senderId: NotRequired[str | None]
    status: NotRequired[str]
    statusUrl: NotRequired[str | None]
    failureReason: NotRequired[str | None]


class RespSendMessage(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str | None]
    companyId: NotRequired[str]
    sessionId: NotRequired[str | None]
    status: NotRequired[str]
    senderId: NotRequired[str | None]
    statusUrl: NotRequired[str | None]
    sentAt: NotRequired[str | None]
    failedReason: NotRequired[str | None]
    callbackUrl: NotRequired[str | None]
    waitReply: NotRequired[bool | None]


class RespSendMessages(TypedDict):
    results: NotRequired[list[RespSendMessage] | None]


class ScheduledMessageChannel(TypedDict):
    id: NotRequired[str]
    humanId: NotRequired[str | None]
    type: NotRequired[str]


class ScheduledMessageChatBot(TypedDict):
    id: NotRequired[str]
    botId: NotRequired[str]
    name: NotRequired[str | None]


class ScheduledMessageContact(TypedDict):
    id: NotRequired[str]
    name: NotRequired[str | None]
    phonenumberFormatted: NotRequired[str | None]
    instagram: NotRequired[str | None]
    pictureUrl: NotRequired[str | None]


class ScheduledMessageDepartment(TypedDict):
    id: NotRequired[str]
    name: NotRequired[str | None]


class ScheduledMessageUser(TypedDict):
    id: NotRequired[str]
    name: NotRequired[str | None]


class Sequence(TypedDict):
    id: NotRequired[str]
    active: NotRequired[bool]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    companyId: NotRequired[str]
    name: NotRequired[str | None]
    enabled: NotRequired[bool]
    contactExecutingCount: NotRequired[int]


class SequenceContactDetails(TypedDict):
    id: NotRequired[str]
    name: NotRequired[str | None]
    phonenumber: NotRequired[str | None]
    phonenumberFormatted: NotRequired[str | None]
    instagram: NotRequired[str | None]
    email: NotRequired[str | None]
    pictureUrl: NotRequired[str | None]


class SequencePage(TypedDict):
    pageNumber: NotRequired[int]
    pageSize: NotRequired[int]
    orderBy: NotRequired[str | None]
    orderDirection: NotRequired[str | None]
    items: NotRequired[list[Sequence] | None]
    totalItems: NotRequired[int]
    totalPages: NotRequired[int]
    hasMorePages: NotRequired[bool]


class SessionClassification(TypedDict):
    id: NotRequired[str]
    category: NotRequired[str]
    categoryDescription: NotRequired[str | None]
    amount: NotRequired[float]
    categoryName: NotRequired[str | None]


TagColor: TypeAlias = str


class TemplateParam(TypedDict):
    name: NotRequired[str | None]
    templateId: NotRequired[str]


class UrlUploadFileV2(TypedDict):
    tempFileId: NotRequired[str]
    urlUpload: NotRequired[str | None]


class Utm(TypedDict):
    sourceId: NotRequired[str | None]
    source: NotRequired[str | None]
    clid: NotRequired[str | None]
    medium: NotRequired[str | None]
    campaign: NotRequired[str | None]
    content: NotRequired[str | None]
    headline: NotRequired[str | None]
    term: NotRequired[str | None]
    referralUrl: NotRequired[str | None]


class Agent(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    companyId: NotRequired[str]
    userId: NotRequired[str]
    name: NotRequired[str | None]
    shortName: NotRequired[str | None]
    email: NotRequired[str | None]
    phoneNumber: NotRequired[str | None]
    phoneNumberFormatted: NotRequired[str | None]
    profile: NotRequired[str | None]
    isOwner: NotRequired[bool]
    departments: NotRequired[list[AgentDepartment] | None]
    availability: NotRequired[str]


class Channel(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    active: NotRequired[bool]
    type: NotRequired[str]
    number: NotRequired[str | None]
    numberFormatted: NotRequired[str | None]
    identity: NotRequired[ChannelIdentity | None]


class Contact(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    companyId: NotRequired[str]
    name: NotRequired[str | None]
    nameWhatsapp: NotRequired[str | None]
    nameInstagram: NotRequired[str | None]
    nameMessenger: NotRequired[str | None]
    phoneNumber: NotRequired[str | None]
    phoneNumberFormatted: NotRequired[str | None]
    email: NotRequired[str | None]
    instagram: NotRequired[str | None]
    messengerId: NotRequired[str | None]
    annotation: NotRequired[str | None]
    tagIds: NotRequired[list[str] | None]
    tagNames: NotRequired[list[str] | None]
    status: NotRequired[str]
    origin: NotRequired[str]
    importedAt: NotRequired[str | None]
    utm: NotRequired[Utm | None]
    customFields: NotRequired[dict[str, Any] | None]
    portfolioIds: NotRequired[list[str] | None]
    portfolioNames: NotRequired[list[str] | None]
    metadata: NotRequired[dict[str, Any] | None]


class ContactPage(TypedDict):
    pageNumber: NotRequired[int]
    pageSize: NotRequired[int]
    orderBy: NotRequired[str | None]
    orderDirection: NotRequired[str | None]
    items: NotRequired[list[Contact] | None]
    totalItems: NotRequired[int]
    totalPages: NotRequired[int]
    hasMorePages: NotRequired[bool]


class CustomField(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    parentId: NotRequired[str | None]
    type: NotRequired[str]
    entityType: NotRequired[str]
    scopeId: NotRequired[str | None]
    companyId: NotRequired[str]
    name: NotRequired[str | None]
    key: NotRequired[str | None]
    position: NotRequired[int]
    visible: NotRequired[bool]
    isValueRange: NotRequired[bool]
    options: NotRequired[list[CustomFieldOption] | None]
    children: NotRequired[list[CustomField] | None]


class File(TypedDict):
    id: NotRequired[str]
    companyId: NotRequired[str | None]
    userId: NotRequired[str | None]
    name: NotRequired[str | None]
    extension: NotRequired[str | None]
    mimeType: NotRequired[str | None]
    type: NotRequired[str]
    publicUrl: NotRequired[str | None]
    publicUrlDownload: NotRequired[str | None]
    size: NotRequired[int]
    isThumbnail: NotRequired[bool]
    thumbnail: NotRequired[FileThumbnail | None]


class MessageFileAsLink(TypedDict):
    file: NotRequired[File | None]
    shortUrl: NotRequired[str | None]


class MessageTrack(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    type: NotRequired[str]
    pageTitle: NotRequired[str | None]
    pageUrl: NotRequired[str | None]
    pageUtm: NotRequired[Utm | None]
    isMobileDevice: NotRequired[bool]
    formData: NotRequired[MessageTrackFromData | None]


class PanelCard(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    companyId: NotRequired[str]
    panelId: NotRequired[str]
    panelTitle: NotRequired[str | None]
    stepId: NotRequired[str]
    stepTitle: NotRequired[str | None]
    stepPhase: NotRequired[str | None]
    position: NotRequired[float]
    title: NotRequired[str | None]
    description: NotRequired[str | None]
    key: NotRequired[str | None]
    number: NotRequired[int]
    dueDate: NotRequired[str | None]
    isOverdue: NotRequired[bool]
    tagIds: NotRequired[list[str] | None]
    sessionId: NotRequired[str | None]
    monetaryAmount: NotRequired[float | None]
    responsibleUserId: NotRequired[str | None]
    responsibleUser: NotRequired[PanelCardResponsibleUser | None]
    contactIds: NotRequired[list[str] | None]
    contacts: NotRequired[list[PanelCardContact] | None]
    customFields: NotRequired[dict[str, Any] | None]
    metadata: NotRequired[dict[str, Any] | None]
    archived: NotRequired[bool]


class PanelCardNote(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    companyId: NotRequired[str]
    panelId: NotRequired[str]
    cardId: NotRequired[str]
    userId: NotRequired[str]
    text: NotRequired[str | None]
    files: NotRequired[list[File] | None]
    isFromPublicApi: NotRequired[bool]


class PanelCardNotePage(TypedDict):
    pageNumber: NotRequired[int]
    pageSize: NotRequired[int]
    orderBy: NotRequired[str | None]
    orderDirection: NotRequired[str | None]
    items: NotRequired[list[PanelCardNote] | None]
    totalItems: NotRequired[int]
    totalPages: NotRequired[int]
    hasMorePages: NotRequired[bool]


class PanelCardPage(TypedDict):
    pageNumber: NotRequired[int]
    pageSize: NotRequired[int]
    orderBy: NotRequired[str | None]
    orderDirection: NotRequired[str | None]
    items: NotRequired[list[PanelCard] | None]
    totalItems: NotRequired[int]
    totalPages: NotRequired[int]
    hasMorePages: NotRequired[bool]


class PanelStep(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    companyId: NotRequired[str]
    panelId: NotRequired[str]
    archived: NotRequired[bool]
    position: NotRequired[float]
    title: NotRequired[str | None]
    isInitial: NotRequired[bool]
    isFinal: NotRequired[bool]
    cardCount: NotRequired[int | None]
    overdueCardCount: NotRequired[int | None]
    monetaryAmount: NotRequired[float | None]
    fields: NotRequired[list[PanelStepField] | None]
    cards: NotRequired[PanelCardPage | None]


class Portfolio(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    active: NotRequired[bool]
    companyId: NotRequired[str]
    name: NotRequired[str | None]
    automaticAttribution: NotRequired[bool]
    expirationDurationInMonths: NotRequired[int]
    contactsCount: NotRequired[int]
    type: NotRequired[str]
    departments: NotRequired[list[PortfolioDepartment] | None]


class PortfolioPage(TypedDict):
    pageNumber: NotRequired[int]
    pageSize: NotRequired[int]
    orderBy: NotRequired[str | None]
    orderDirection: NotRequired[str | None]
    items: NotRequired[list[Portfolio] | None]
    totalItems: NotRequired[int]
    totalPages: NotRequired[int]
    hasMorePages: NotRequired[bool]


class ResponseScheduledMessageTemplateParams(TypedDict):
    parameters: NotRequired[dict[str, Any] | None]
    file: NotRequired[File | None]


class ScheduledMessageTemplate(TypedDict):
    id: NotRequired[str]
    name: NotRequired[str | None]
    templateParams: NotRequired[ResponseScheduledMessageTemplateParams | None]


class SequenceContact(TypedDict):
    id: NotRequired[str]
    active: NotRequired[bool]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    companyId: NotRequired[str]
    sequenceId: NotRequired[str]
    contactId: NotRequired[str]
    contactName: NotRequired[str | None]
    origin: NotRequired[str]
    addedByUserId: NotRequired[str | None]
    addedByChatbotId: NotRequired[str | None]
    lastAddedAt: NotRequired[str | None]
    contactDetails: NotRequired[SequenceContactDetails | None]


class SequenceContactPage(TypedDict):
    pageNumber: NotRequired[int]
    pageSize: NotRequired[int]
    orderBy: NotRequired[str | None]
    orderDirection: NotRequired[str | None]
    items: NotRequired[list[SequenceContact] | None]
    totalItems: NotRequired[int]
    totalPages: NotRequired[int]
    hasMorePages: NotRequired[bool]


class Session(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    startAt: NotRequired[str]
    endAt: NotRequired[str | None]
    status: NotRequired[str]
    companyId: NotRequired[str]
    contactId: NotRequired[str | None]
    channelId: NotRequired[str]
    departmentId: NotRequired[str | None]
    userId: NotRequired[str | None]
    previewUrl: NotRequired[str | None]
    title: NotRequired[str | None]
    number: NotRequired[str | None]
    utm: NotRequired[Utm | None]
    origin: NotRequired[str | None]
    contactDetails: NotRequired[ContactData | None]
    agentDetails: NotRequired[AgentData | None]
    channelDetails: NotRequired[ChannelIdentity | None]
    departmentDetails: NotRequired[DepartmentData | None]
    classification: NotRequired[SessionClassification | None]
    statusDescription: NotRequired[str | None]
    timeService: NotRequired[str | None]
    timeWait: NotRequired[str | None]
    firstResponseAt: NotRequired[str | None]
    botId: NotRequired[str | None]
    unreadCount: NotRequired[int]
    lastMessageText: NotRequired[str | None]
    lastInteractionDate: NotRequired[str | None]
    lastMessageOut: NotRequired[str | None]
    lastMessageIn: NotRequired[str | None]
    windowStatus: NotRequired[str]
    metadata: NotRequired[dict[str, Any] | None]
    channelType: NotRequired[str | None]


class SessionV2(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    startAt: NotRequired[str]
    endAt: NotRequired[str | None]
    status: NotRequired[str]
    companyId: NotRequired[str]
    contactId: NotRequired[str | None]
    channelId: NotRequired[str]
    departmentId: NotRequired[str | None]
    userId: NotRequired[str | None]
    previewUrl: NotRequired[str | None]
    title: NotRequired[str | None]
    number: NotRequired[str | None]
    utm: NotRequired[Utm | None]
    origin: NotRequired[str | None]
    contactDetails: NotRequired[ContactData | None]
    agentDetails: NotRequired[AgentData | None]
    channelDetails: NotRequired[ChannelIdentity | None]
    departmentDetails: NotRequired[DepartmentData | None]
    classification: NotRequired[SessionClassification | None]
    statusDescription: NotRequired[str | None]
    timeService: NotRequired[str | None]
    timeWait: NotRequired[str | None]
    firstResponseAt: NotRequired[str | None]
    botId: NotRequired[str | None]
    unreadCount: NotRequired[int]
    lastMessageText: NotRequired[str | None]
    lastInteractionDate: NotRequired[str | None]
    lastMessageOut: NotRequired[str | None]
    lastMessageIn: NotRequired[str | None]
    windowStatus: NotRequired[str]
    metadata: NotRequired[dict[str, Any] | None]
    channelType: NotRequired[str | None]
    type: NotRequired[str | None]


class SessionV2Page(TypedDict):
    pageNumber: NotRequired[int]
    pageSize: NotRequired[int]
    orderBy: NotRequired[str | None]
    orderDirection: NotRequired[str | None]
    items: NotRequired[list[SessionV2] | None]
    totalItems: NotRequired[int]
    totalPages: NotRequired[int]
    hasMorePages: NotRequired[bool]


class Tag(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    name: NotRequired[str | None]
    color: NotRequired[TagColor | None]


class Template(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    active: NotRequired[bool]
    archived: NotRequired[bool]
    channelId: NotRequired[str | None]
    name: NotRequired[str | None]
    text: NotRequired[str | None]
    footerText: NotRequired[str | None]
    status: NotRequired[str]
    channelType: NotRequired[str | None]
    type: NotRequired[list[str]]
    params: NotRequired[list[TemplateParam] | None]
    internalName: NotRequired[str | None]
    fileType: NotRequired[str | None]
    quickReplyAlias: NotRequired[str | None]
    rejectedDescription: NotRequired[str | None]
    categoryId: NotRequired[str | None]
    categoryName: NotRequired[str | None]


class TemplatePage(TypedDict):
    pageNumber: NotRequired[int]
    pageSize: NotRequired[int]
    orderBy: NotRequired[str | None]
    orderDirection: NotRequired[str | None]
    items: NotRequired[list[Template] | None]
    totalItems: NotRequired[int]
    totalPages: NotRequired[int]
    hasMorePages: NotRequired[bool]


class MessageDetails(TypedDict):
    file: NotRequired[File | None]
    files: NotRequired[list[File] | None]
    fileAsLink: NotRequired[MessageFileAsLink | None]
    location: NotRequired[MessageLocation | None]
    contact: NotRequired[MessageContact | None]
    errors: NotRequired[list[MessageError] | None]
    footerText: NotRequired[str | None]
    utm: NotRequired[Utm | None]
    payTransactionId: NotRequired[str | None]
    reactionToContact: NotRequired[str | None]
    reactionFromContact: NotRequired[str | None]
    track: NotRequired[MessageTrack | None]
    transcription: NotRequired[MsgTranscription | None]
    templateCategoryId: NotRequired[str | None]
    templateCategoryName: NotRequired[str | None]
    waitReply: NotRequired[bool]


class Panel(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    companyId: NotRequired[str]
    archived: NotRequired[bool]
    scope: NotRequired[str]
    departmentIds: NotRequired[list[str] | None]
    userId: NotRequired[str | None]
    title: NotRequired[str | None]
    description: NotRequired[str | None]
    thumbnailId: NotRequired[str | None]
    thumbnailFile: NotRequired[File | None]
    key: NotRequired[str | None]
    overdueCardCount: NotRequired[int | None]
    stepTitles: NotRequired[list[str] | None]
    tags: NotRequired[list[PanelTag] | None]
    steps: NotRequired[list[PanelStep] | None]
    type: NotRequired[str]
    autoLossDays: NotRequired[int | None]


class PanelPage(TypedDict):
    pageNumber: NotRequired[int]
    pageSize: NotRequired[int]
    orderBy: NotRequired[str | None]
    orderDirection: NotRequired[str | None]
    items: NotRequired[list[Panel] | None]
    totalItems: NotRequired[int]
    totalPages: NotRequired[int]
    hasMorePages: NotRequired[bool]


class ReqScheduledMessage(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    active: NotRequired[bool]
    companyId: NotRequired[str]
    contactId: NotRequired[str]
    userId: NotRequired[str]
    channelId: NotRequired[str]
    departmentId: NotRequired[str | None]
    status: NotRequired[str]
    type: NotRequired[str]
    templateId: NotRequired[str | None]
    botId: NotRequired[str | None]
    scheduling: NotRequired[str]
    hiddenSession: NotRequired[bool]
    failureReason: NotRequired[str | None]
    contact: NotRequired[ScheduledMessageContact | None]
    user: NotRequired[ScheduledMessageUser | None]
    channel: NotRequired[ScheduledMessageChannel | None]
    department: NotRequired[ScheduledMessageDepartment | None]
    chatbot: NotRequired[ScheduledMessageChatBot | None]
    template: NotRequired[ScheduledMessageTemplate | None]


class ScheduledMessage(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    active: NotRequired[bool]
    companyId: NotRequired[str]
    sessionId: NotRequired[str | None]
    contactId: NotRequired[str]
    userId: NotRequired[str]
    channelId: NotRequired[str]
    departmentId: NotRequired[str | None]
    status: NotRequired[str]
    type: NotRequired[str]
    templateId: NotRequired[str | None]
    botId: NotRequired[str | None]
    scheduling: NotRequired[str]
    hiddenSession: NotRequired[bool]
    failureReason: NotRequired[str | None]
    contact: NotRequired[ScheduledMessageContact | None]
    user: NotRequired[ScheduledMessageUser | None]
    channel: NotRequired[ScheduledMessageChannel | None]
    department: NotRequired[ScheduledMessageDepartment | None]
    chatbot: NotRequired[ScheduledMessageChatBot | None]
    template: NotRequired[ScheduledMessageTemplate | None]


class ScheduledMessagePage(TypedDict):
    pageNumber: NotRequired[int]
    pageSize: NotRequired[int]
    orderBy: NotRequired[str | None]
    orderDirection: NotRequired[str | None]
    items: NotRequired[list[ScheduledMessage] | None]
    totalItems: NotRequired[int]
    totalPages: NotRequired[int]
    hasMorePages: NotRequired[bool]


class Message(TypedDict):
    id: NotRequired[str]
    createdAt: NotRequired[str]
    updatedAt: NotRequired[str]
    timestamp: NotRequired[str | None]
    type: NotRequired[str]
    senderId: NotRequired[str | None]
    sessionId: NotRequired[str]
    templateId: NotRequired[str | None]
    userId: NotRequired[str | None]
    direction: NotRequired[str]
    status: NotRequired[str]
    origin: NotRequired[str]
    text: NotRequired[str | None]
    fileId: NotRequired[str | None]
    refId: NotRequired[str | None]
    readContactAt: NotRequired[str | None]
    details: NotRequired[MessageDetails | None]
    failedReason: NotRequired[str | None]
    filesIds: NotRequired[list[str] | None]


class MessagePage(TypedDict):
    pageNumber: NotRequired[int]
    pageSize: NotRequired[int]
    orderBy: NotRequired[str | None]
    orderDirection: NotRequired[str | None]
    items: NotRequired[list[Message] | None]
    totalItems: NotRequired[int]
    totalPages: NotRequired[int]
    hasMorePages: NotRequired[bool]
